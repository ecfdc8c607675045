//! After an unclean stop: every batch is recorded before its first try, until the copy has passed
//! what was waiting when the process started, so that a record that kills it is found.

use std::sync::atomic::{AtomicBool, Ordering};

use contracts::calls::SyncResponse;
use contracts::{Pn, Stream, Topic};
use deadpool_postgres::{ClientWrapper, Object, Pool};
use protocol::reader::{Attempt, Goal, Next, attempt};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::error::chain;
use crate::store::copy;
use crate::{Error, Transaction};

/// Knows whether the stop before was unclean, and what was tried since.
pub(crate) struct Careful {
    topic: Topic,
    process: Uuid,
    on: AtomicBool,
    recorder: Mutex<Option<Recorder>>,
}

/// A connection beside those of the pool, so that a batch that holds its position never waits for
/// a second one.
struct Recorder {
    client: ClientWrapper,
    goal: Goal,
}

/// One batch's part in it; while it lives no other batch of the topic is tried in this process.
pub(crate) struct Turn<'a> {
    careful: &'a Careful,
    recorder: Option<MutexGuard<'a, Option<Recorder>>>,
}

impl Careful {
    /// Marks this process as running; a mark that was left over switches caution on.
    pub(crate) async fn begin(pool: &Pool, topic: &Topic) -> Result<Self, Error> {
        let client = pool.get().await?;
        let process = Uuid::new_v4();
        let unclean = copy::begin_running(&client, topic, process).await?;
        if unclean {
            tracing::warn!(%topic, "unclean stop: batches are recorded before they are tried");
        }
        let recorder =
            unclean.then(|| Recorder { client: Object::take(client), goal: Goal::default() });
        Ok(Self {
            topic: topic.clone(),
            process,
            on: AtomicBool::new(unclean),
            recorder: Mutex::new(recorder),
        })
    }

    /// Takes the mark away: this stop is clean.
    pub(crate) async fn end(&self, pool: &Pool) -> Result<(), Error> {
        let client = pool.get().await?;
        copy::forget_attempts(&client, &self.topic, Some(self.process)).await?;
        copy::end_running(&client, &self.topic, self.process).await
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Waits for its turn; a recorder whose connection was lost gets another one here, where
    /// nothing is locked yet.
    pub(crate) async fn enter(&self, pool: &Pool) -> Result<Turn<'_>, Error> {
        if !self.is_on() {
            return Ok(Turn { careful: self, recorder: None });
        }
        let mut slot = self.recorder.lock().await;
        if let Some(recorder) = slot.as_mut().filter(|recorder| recorder.client.is_closed()) {
            recorder.client = Object::take(pool.get().await?);
        }
        Ok(Turn { careful: self, recorder: Some(slot) })
    }

    /// Ends once the positions have passed the heads of the first call; not now if a batch is being
    /// tried, which may take long.
    pub(crate) async fn pass(
        &self,
        pool: &Pool,
        answer: &SyncResponse,
        position: impl Fn(&Stream) -> Option<Pn>,
    ) -> Result<(), Error> {
        let Ok(mut slot) = self.recorder.try_lock() else { return Ok(()) };
        let Some(recorder) = slot.as_mut() else { return Ok(()) };
        recorder.goal.see(answer);
        if recorder.goal.is_reached(position) {
            let client = pool.get().await?;
            copy::forget_attempts(&client, &self.topic, None).await?;
            self.on.store(false, Ordering::Release);
            *slot = None;
        }
        Ok(())
    }
}

impl Turn<'_> {
    /// Decides how much of `first..=last` to try now, and records it. The position is locked.
    pub(crate) async fn plan(
        &mut self,
        tx: &Transaction<'_>,
        stream: &Stream,
        (first, last): (Pn, Pn),
    ) -> Result<Next, Error> {
        let whole = Attempt { first, last, suspect: last, count: 1, survived: false };
        let Some(recorder) = self.recorder.as_mut().and_then(|slot| slot.as_mut()) else {
            return Ok(Next::Try(whole));
        };
        let Careful { topic, process, .. } = self.careful;
        let next = match copy::read_attempt(tx, stream, *process).await? {
            Some((tried, true)) if !tried.survived && tried.first == first => {
                Next::Try(Attempt { last: tried.last.min(last), ..tried })
            }
            recorded => attempt(recorded.map(|(tried, _)| tried).as_ref(), first, last),
        };
        if let Next::Try(part) = &next {
            copy::record_attempt(&recorder.client, (topic, stream), part, *process).await?;
        }
        Ok(next)
    }

    /// The try failed without a death, and is made again by whoever has the position next; it is
    /// still locked.
    pub(crate) async fn fail(&self, stream: &Stream) {
        let Some(recorder) = self.recorder.as_ref().and_then(|slot| slot.as_ref()) else { return };
        let failed = copy::fail_attempt(&recorder.client, stream, self.careful.process);
        if let Err(error) = failed.await {
            // Other processes take it for a death, of which it takes several to blame a record.
            tracing::warn!(%stream, error = chain(&error), "a recorded try looks like a death");
        }
    }

    /// The batch was survived, if its transaction commits.
    pub(crate) async fn survive(&self, tx: &Transaction<'_>, stream: &Stream) -> Result<(), Error> {
        match &self.recorder {
            Some(slot) if slot.is_some() => copy::survive_attempt(tx, stream).await,
            _ => Ok(()),
        }
    }
}
