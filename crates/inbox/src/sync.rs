//! The loop that asks the source where the heads are: it finds new streams and other pasts, wakes
//! the readers, and lets the source know where this copy stands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::calls::{self, SyncRequest, SyncResponse};
use contracts::{Pn, Stream};
use protocol::reader::{Cause, Phase, Sighting, is_due, judge};
use tokio_util::sync::CancellationToken;

use crate::apply::mark_cases;
use crate::config::OnDivergence;
use crate::error::chain;
use crate::follower::{Follower, back_off};
use crate::store::watch::Deliveries;
use crate::store::{Copy, copy, watch};
use crate::{Error, Projection, Transaction};

/// However often it is woken, it leaves this much time between two calls.
const PAUSE: Duration = Duration::from_millis(20);
/// How often cases are looked for that another lane has overtaken.
const OVERTAKEN_INTERVAL: Duration = Duration::from_secs(5);

/// What the loop remembers from one call to the next.
#[derive(Debug, Default)]
struct Memory {
    positions: BTreeMap<Stream, Pn>,
    closed: Option<Instant>,
}

/// Calls sync until stopped.
pub(crate) async fn run<P: Projection>(
    follower: Arc<Follower<P>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let topic = &follower.topic;
    let mut memory = Memory::default();
    let (mut failures, mut told) = (0, None);
    while !stop.is_cancelled() {
        let outcome = follower.synchronise(&mut memory).await;
        let error = outcome.as_ref().err().map(|error| chain(error));
        if error != told
            && let Some(error) = &error
        {
            tracing::warn!(%topic, error, "a sync failed and is tried again");
        }
        follower.monitor().synchronised(topic, error.clone());
        told = error;
        follower.flush().await;
        match outcome {
            Ok(()) => {
                failures = 0;
                tokio::time::sleep(PAUSE).await;
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = follower.sync.notified() => {}
                    () = follower.monitor().asked() => {}
                    () = tokio::time::sleep(follower.config.sync_interval()) => {}
                }
            }
            Err(_) => {
                failures += 1;
                back_off(failures, &stop).await;
            }
        }
    }
    follower.flush().await;
    Ok(())
}

impl<P: Projection> Follower<P> {
    async fn synchronise(&self, memory: &mut Memory) -> Result<(), Error> {
        let client = self.client().await?;
        let read_at = Instant::now();
        let (copy, positions) = copy::read_copy(&client, &self.topic).await?;
        drop(client);
        let request = SyncRequest {
            consumer: self.consumer.clone(),
            identity: self.identity,
            topics: vec![self.topic.clone()],
            positions: (copy.phase != Phase::New).then(|| positions.clone()),
        };
        let answer = self.relay.sync(&request).await?;
        if let Some(term) = answer.term.filter(|term| copy.term != Some(*term)) {
            // Stored before any moment is clean that this answer proves: whoever knows the one
            // knows the other.
            copy::hear_term(&self.client().await?, &self.topic, term).await?;
        }
        let cause = self.cause(&copy, &positions, &answer);
        self.monitor().answered(&self.topic, (&copy, cause), (read_at, &positions), &answer);
        match cause {
            Some(cause) if self.must_stand(&copy, cause) => self.halt(&copy, cause).await,
            Some(cause) => self.begin_rebuild(cause, &copy, &answer).await,
            None if copy.phase.takes_changes() => {
                self.look(memory, &copy, &positions, &answer).await
            }
            None => Ok(()),
        }
    }

    /// Why the copy has to be loaded anew, if it has to.
    fn cause(
        &self,
        copy: &Copy,
        positions: &[calls::Position],
        answer: &SyncResponse,
    ) -> Option<Cause> {
        let judged = judge(copy.root, positions, answer);
        let diverged = copy.phase == Phase::Diverged || judged == Some(Cause::Diverged);
        match copy.asked.as_deref() {
            Some("damaged") => Some(Cause::Damaged),
            Some(_) if diverged => Some(Cause::Diverged),
            Some(_) => Some(Cause::Asked),
            None if diverged => Some(Cause::Diverged),
            None => judged,
        }
    }

    /// A divergence that nobody looked at: what only this copy still holds would be gone.
    fn must_stand(&self, copy: &Copy, cause: Cause) -> bool {
        let policy = self.config.on_divergence;
        cause == Cause::Diverged && copy.asked.is_none() && policy == OnDivergence::Stop
    }

    async fn halt(&self, seen: &Copy, cause: Cause) -> Result<(), Error> {
        if seen.phase == Phase::Diverged {
            return Ok(());
        }
        let client = self.client().await?;
        let tx = Transaction::new(&client);
        let (copy, _) = tx.begin_with(copy::lock_copy(&tx, &self.topic)).await?;
        if copy.rebuild != seen.rebuild || copy.phase == Phase::Diverged {
            return Ok(());
        }
        let complaint = "copy and source have different pasts; look at what only this copy \
                         holds, then command a rebuild";
        copy::halt(&tx, &self.topic, complaint).await?;
        tx.commit().await?;
        self.monitor().phase(&self.topic, Phase::Diverged);
        self.pipeline.metrics.alarm(cause.as_str());
        tracing::error!(topic = %self.topic, "alarm: {complaint}");
        Ok(())
    }

    /// The copy follows its source: enters new streams, wakes readers, closes overtaken cases.
    async fn look(
        &self,
        memory: &mut Memory,
        copy: &Copy,
        positions: &[calls::Position],
        answer: &SyncResponse,
    ) -> Result<(), Error> {
        let known = |stream: &Stream| positions.iter().find(|at| at.stream == *stream);
        let names = answer.streams.iter().map(|state| &state.stream);
        let new: Vec<_> = names.filter(|stream| known(stream).is_none()).collect();
        if !new.is_empty()
            && let Some(root) = copy.root
        {
            let client = self.client().await?;
            copy::create_positions(&client, &self.topic, root, &new).await?;
            self.sync.notify_one();
        }
        let seen = self.monitor().watched(self.topic.as_str());
        let now = |stream: &Stream| {
            let here = seen.as_ref().and_then(|w| w.streams.get(stream)?.position).map(|at| at.pn);
            here.or(known(stream).map(|at| at.pn))
        };
        for state in &answer.streams {
            let intake = self.intakes.enter(&state.stream);
            let position = now(&state.stream).unwrap_or(Pn::ZERO);
            let before = memory.positions.get(&state.stream).copied();
            let pushes = self.pushes;
            if is_due(&Sighting { head: state.head, position, before, pushes }) {
                intake.wake.notify_one();
            }
        }
        memory.positions = positions.iter().map(|at| (at.stream.clone(), at.pn)).collect();
        let position = |stream: &Stream| known(stream).map(|at| at.pn);
        self.pipeline.careful.pass(&self.pipeline.pool, answer, position).await?;
        if memory.closed.is_none_or(|closed| closed.elapsed() >= OVERTAKEN_INTERVAL) {
            memory.closed = Some(Instant::now());
            self.close_overtaken().await?;
        }
        Ok(())
    }

    async fn close_overtaken(&self) -> Result<(), Error> {
        let client = self.client().await?;
        if !copy::has_overtaken(&client, &self.topic).await? {
            return Ok(());
        }
        let tx = Transaction::new(&client);
        let (copy, _) = tx.begin_with(copy::lock_copy(&tx, &self.topic)).await?;
        let keys = copy::close_overtaken(&tx, &self.topic, &copy).await?;
        mark_cases(&tx, &self.pipeline.projection, &keys).await?;
        tx.commit().await?;
        self.monitor().marked();
        Ok(())
    }

    /// Writes the counts of deliveries that changed nothing; what cannot be written now is kept.
    async fn flush(&self) {
        for intake in self.intakes.all() {
            let counted = intake.drain();
            if counted == Deliveries::default() {
                continue;
            }
            let flushed = async {
                let client = self.client().await?;
                watch::count_deliveries(&client, &intake.stream, counted).await
            };
            let flushed = flushed.await;
            if !matches!(flushed, Ok(true)) {
                intake.give_back(counted);
            }
            if let Err(error) = flushed {
                let (stream, error) = (&intake.stream, chain(&error));
                tracing::debug!(%stream, error, "deliveries are counted later");
            }
        }
    }
}
