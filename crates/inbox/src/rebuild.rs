//! Loads a copy anew: positions go to the heads first, then the snapshot is paged through while
//! changes flow, then what the source no longer knows is swept out. It goes on where it stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::calls::{self, SnapshotResponse, SyncResponse};
use contracts::{Key, Stream};
use futures::try_join;
use protocol::reader::{Cause, Page, Phase, Position, Road, page};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::apply::{Settled, Trial, apply, mark_cases};
use crate::batch::Parsed;
use crate::error::chain;
use crate::follower::{Follower, back_off};
use crate::store::{Copy, copy};
use crate::{Error, Projection, Transaction, store};

/// How many keys one transaction of the sweep deletes.
const SWEEP_LIMIT: i64 = 500;
/// How long a page waits for the positions to reach its heads before it is read again.
const HEADS_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it looks meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often the loop looks whether another process began a rebuild.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// What one turn of the loop did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// A page is in, or a part of the sweep.
    Moved,
    /// Something changed meanwhile; look again.
    Again,
    /// There is no rebuild under way.
    Idle,
}

/// Loads pages whenever a rebuild is under way, until stopped.
pub(crate) async fn run<P: Projection>(
    follower: Arc<Follower<P>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut failures = 0;
    while !stop.is_cancelled() {
        match follower.load_on().await {
            Ok(Turn::Moved) => failures = 0,
            Ok(Turn::Again) => {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            Ok(Turn::Idle) => {
                failures = 0;
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = follower.load.notified() => {}
                    () = tokio::time::sleep(IDLE_INTERVAL) => {}
                }
            }
            Err(error) => {
                failures += 1;
                let (topic, error) = (&follower.topic, chain(&error));
                tracing::warn!(%topic, failures, error, "a rebuild failed and goes on");
                back_off(failures, &stop).await;
            }
        }
    }
    Ok(())
}

impl<P: Projection> Follower<P> {
    /// First of all the positions go to the heads: set at the end, they would lose deletes.
    pub(crate) async fn begin_rebuild(
        &self,
        cause: Cause,
        seen: &Copy,
        answer: &SyncResponse,
    ) -> Result<(), Error> {
        let client = self.client().await?;
        let tx = Transaction::new(&client);
        let (copy, _) = tx.begin_with(copy::lock_copy(&tx, &self.topic)).await?;
        if (copy.rebuild, &copy.asked) != (seen.rebuild, &seen.asked) {
            // Decided for another state than this; a command that came meanwhile must not vanish.
            self.sync.notify_one();
            return Ok(());
        }
        let raise = i64::from(cause.raises_history());
        let heads = (answer.root, &answer.streams[..]);
        let (rebuild, history) =
            copy::begin_rebuild(&tx, &self.topic, copy.rebuild, raise, heads).await?;
        tx.commit().await?;
        tracing::warn!(
            topic = %self.topic, cause = cause.as_str(), rebuild, history,
            "the copy is loaded anew"
        );
        self.monitor().phase(&self.topic, Phase::Loading);
        for state in &answer.streams {
            let head = Position { pn: state.head, term: state.term };
            self.monitor().moved(&self.topic, &state.stream, head);
            self.intakes.enter(&state.stream).wake.notify_one();
        }
        self.load.notify_one();
        self.sync.notify_one();
        Ok(())
    }

    async fn load_on(&self) -> Result<Turn, Error> {
        let client = self.client().await?;
        let (copy, _) = copy::read_copy(&client, &self.topic).await?;
        drop(client);
        match copy.phase {
            Phase::Loading => self.load_page(&copy).await,
            Phase::Sweeping => match self.sweep(&copy, Trial::Whole).await {
                Err(error) if error.blames_record() => self.sweep(&copy, Trial::EachAlone).await,
                outcome => outcome,
            },
            Phase::New | Phase::Serving | Phase::Diverged => Ok(Turn::Idle),
        }
    }

    async fn load_page(&self, copy: &Copy) -> Result<Turn, Error> {
        let limit = self.config.page_limit.clamp(1, 1_000);
        let page = self.relay.snapshot(&self.topic, copy.cursor.as_deref(), limit).await?;
        if copy.root != Some(page.root) {
            self.sync.notify_one();
            return Ok(Turn::Again);
        }
        if !self.reach(copy, &page.heads).await? {
            return Ok(Turn::Again);
        }
        match self.apply_page(copy, &page, Trial::Whole).await {
            Err(error) if error.blames_record() => {
                self.apply_page(copy, &page, Trial::EachAlone).await
            }
            outcome => outcome,
        }
    }

    /// Waits until the positions include everything that the page includes.
    async fn reach(&self, copy: &Copy, heads: &[calls::Position]) -> Result<bool, Error> {
        let deadline = Instant::now() + HEADS_TIMEOUT;
        while Instant::now() < deadline && !self.stop().is_cancelled() {
            let client = self.client().await?;
            let (now, positions) = copy::read_copy(&client, &self.topic).await?;
            drop(client);
            if !is_same_rebuild(copy, &now) {
                return Ok(false);
            }
            let positions: BTreeMap<Stream, Position> = positions
                .into_iter()
                .map(|at| (at.stream, Position { pn: at.pn, term: at.term }))
                .collect();
            match page(heads, &positions) {
                Page::Apply => return Ok(true),
                Page::ReadAgain => return Ok(false),
                Page::Wait => self.hurry(heads, &positions).await,
            }
        }
        Ok(false)
    }

    /// Wakes the readers that are behind, and waits a moment.
    async fn hurry(&self, heads: &[calls::Position], positions: &BTreeMap<Stream, Position>) {
        for head in heads {
            match positions.get(&head.stream) {
                Some(at) if at.pn >= head.pn => {}
                Some(_) => self.intakes.enter(&head.stream).wake.notify_one(),
                None => self.sync.notify_one(),
            }
        }
        let _ = timeout(LOOK_INTERVAL, self.stop().cancelled()).await;
    }

    async fn apply_page(
        &self,
        seen: &Copy,
        answer: &SnapshotResponse,
        trial: Trial,
    ) -> Result<Turn, Error> {
        let topic = &self.topic;
        let client = self.client().await?;
        let tx = Transaction::new(&client);
        let (copy, positions) = tx.begin_with(copy::lock_copy(&tx, topic)).await?;
        let is_ours = is_same_rebuild(seen, &copy) && copy.cursor == seen.cursor;
        if !is_ours || page(&answer.heads, &positions) != Page::Apply {
            return Ok(Turn::Again);
        }
        let parsed = Parsed::rows(&answer.rows);
        let keys: Vec<_> = answer.rows.iter().map(|row| row.key.as_str()).collect();
        let stored = store::read_versions(&tx, topic, &parsed.keys()).await?;
        let gated = parsed.gate(Road::Page, copy.history, &stored);
        let repairs = gated.repairs;
        let settled = apply(&tx, &self.pipeline.projection, None, gated, trial).await?;
        let next = answer.next.as_ref().map(Key::as_str);
        let phase = if next.is_some() { Phase::Loading } else { Phase::Sweeping };
        try_join!(
            store::write_versions(&tx, topic, &copy, &settled),
            copy::see_keys(&tx, topic, &keys, copy.rebuild),
            copy::supersede_cases(&tx, topic, &copy, &settled.winners),
            self.write_rest(&tx, &copy, &settled),
            copy::move_cursor(&tx, topic, phase, next),
        )?;
        tx.commit().await?;
        self.tell_page(&settled, repairs, phase);
        Ok(Turn::Moved)
    }

    async fn write_rest(
        &self,
        tx: &Transaction<'_>,
        copy: &Copy,
        settled: &Settled<'_>,
    ) -> Result<(), Error> {
        store::open_cases(tx, &self.topic, copy, &settled.cases).await?;
        store::mark_dirty(tx, &settled.dirty).await
    }

    fn tell_page(&self, settled: &Settled<'_>, repairs: u32, phase: Phase) {
        let topic = &self.topic;
        self.monitor().phase(topic, phase);
        if settled.is_marked() {
            self.monitor().marked();
        }
        for case in &settled.cases {
            let key = case.key.as_ref().map_or("", |key| key.as_str());
            let (kind, rule) = (case.kind.as_str(), case.rule);
            tracing::warn!(%topic, key, kind, rule, "a row of a snapshot became a case");
        }
        if repairs > 0 {
            self.pipeline.metrics.alarm("repair");
            tracing::error!(%topic, repairs, "alarm: stored states differed from their version");
        }
    }

    /// Deletes what this rebuild has not met; after the last key the copy serves.
    async fn sweep(&self, seen: &Copy, trial: Trial) -> Result<Turn, Error> {
        let topic = &self.topic;
        let client = self.client().await?;
        let tx = Transaction::new(&client);
        let (copy, _) = tx.begin_with(copy::lock_copy(&tx, topic)).await?;
        if !is_same_rebuild(seen, &copy) || copy.cursor != seen.cursor {
            return Ok(Turn::Again);
        }
        let after = copy.cursor.as_deref().unwrap_or_default();
        let keys = copy::read_unseen(&tx, topic, copy.rebuild, after, SWEEP_LIMIT).await?;
        let Some(last) = keys.last().map(Key::as_str) else {
            return self.finish(tx, &copy).await;
        };
        let gated = Parsed::unknown(&keys).ungated();
        let settled = apply(&tx, &self.pipeline.projection, None, gated, trial).await?;
        copy::bury_keys(&tx, topic, &copy, &keys).await?;
        self.write_rest(&tx, &copy, &settled).await?;
        copy::move_cursor(&tx, topic, Phase::Sweeping, Some(last)).await?;
        tx.commit().await?;
        self.tell_page(&settled, 0, Phase::Sweeping);
        Ok(Turn::Moved)
    }

    async fn finish(&self, tx: Transaction<'_>, copy: &Copy) -> Result<Turn, Error> {
        let keys = copy::close_older_cases(&tx, &self.topic, copy).await?;
        mark_cases(&tx, &self.pipeline.projection, &keys).await?;
        copy::move_cursor(&tx, &self.topic, Phase::Serving, None).await?;
        tx.commit().await?;
        self.monitor().phase(&self.topic, Phase::Serving);
        self.monitor().marked();
        self.sync.notify_one();
        let (rebuild, history) = (copy.rebuild, copy.history);
        tracing::info!(topic = %self.topic, rebuild, history, "the copy is loaded and serves");
        Ok(Turn::Moved)
    }
}

fn is_same_rebuild(seen: &Copy, now: &Copy) -> bool {
    (seen.rebuild, seen.history, seen.phase) == (now.rebuild, now.history, now.phase)
}
