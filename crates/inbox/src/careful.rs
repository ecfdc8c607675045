//! After an unclean stop: every batch is recorded before its first try, until the copy has passed
//! what was waiting when the process started, so that a record that kills it is found.

use std::sync::atomic::{AtomicBool, Ordering};

use contracts::{Pn, Stream, Topic};
use deadpool_postgres::{Object, Pool, Transaction};
use protocol::reader::{Attempt, Next, attempt};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::Error;
use crate::store::copy;

/// Knows whether the stop before was unclean, and what was tried since.
pub(crate) struct Careful {
    topic: Topic,
    process: Uuid,
    on: AtomicBool,
    recorder: Mutex<Option<Recorder>>,
}

/// A connection of its own, held from the start: a batch that holds its position never waits for
/// a second one.
struct Recorder {
    client: Object,
    until: Option<Vec<(Stream, Pn)>>,
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
        Ok(Self {
            topic: topic.clone(),
            process,
            on: AtomicBool::new(unclean),
            recorder: Mutex::new(unclean.then_some(Recorder { client, until: None })),
        })
    }

    /// Takes the mark away: this stop is clean.
    pub(crate) async fn end(&self, pool: &Pool) -> Result<(), Error> {
        let client = pool.get().await?;
        copy::forget_attempts(&client, &self.topic).await?;
        copy::end_running(&client, &self.topic, self.process).await
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    pub(crate) async fn enter(&self) -> Turn<'_> {
        let recorder = if self.is_on() { Some(self.recorder.lock().await) } else { None };
        Turn { careful: self, recorder }
    }

    /// Ends once the positions have passed the heads of the first call.
    pub(crate) async fn pass(
        &self,
        heads: impl Iterator<Item = (Stream, Pn)>,
        position: impl Fn(&Stream) -> Option<Pn>,
    ) -> Result<(), Error> {
        if !self.is_on() {
            return Ok(());
        }
        let mut slot = self.recorder.lock().await;
        let Some(recorder) = slot.as_mut() else { return Ok(()) };
        let until = recorder.until.get_or_insert_with(|| heads.collect());
        if until.iter().all(|(stream, head)| position(stream).is_some_and(|at| at >= *head)) {
            copy::forget_attempts(&recorder.client, &self.topic).await?;
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
        let next = match copy::read_attempt(tx, stream).await? {
            // This process is alive: its own try failed in an ordinary way, and is made again.
            Some((mine, by)) if by == *process && !mine.survived && mine.first == first => {
                Next::Try(Attempt { last: mine.last.min(last), ..mine })
            }
            recorded => attempt(recorded.map(|(tried, _)| tried).as_ref(), first, last),
        };
        if let Next::Try(part) = &next {
            copy::record_attempt(&recorder.client, (topic, stream), part, *process).await?;
        }
        Ok(next)
    }

    /// The batch was survived, if its transaction commits.
    pub(crate) async fn survive(&self, tx: &Transaction<'_>, stream: &Stream) -> Result<(), Error> {
        match &self.recorder {
            Some(slot) if slot.is_some() => copy::survive_attempt(tx, stream).await,
            _ => Ok(()),
        }
    }
}
