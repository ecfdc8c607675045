//! The worker of one sink: what a commit marked dirty is brought up to date, until it worked.
//!
//! Of all processes on one database one works at a time: it holds a lock of a session of its own,
//! and asks that session often enough to notice before anybody else can have the lock.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bus::metrics::{Operations, Status};
use deadpool_postgres::{ClientWrapper, Object, Pool};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::apply::guard;
use crate::error::chain;
use crate::follower::back_off;
use crate::projection::Sink;
use crate::store::watch;
use crate::{Config, Dirty, Error, Monitor, Transaction};

/// How many dirty keys are handed over at once.
const BATCH_LIMIT: i64 = 500;
/// How often it looks without being woken: another process may have marked keys, or ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often it notes what is clean while there is a backlog, since that looks at all of it.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the session that holds the lock may take to answer. With the interval it stays below
/// the silence after which the server ends that session.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Cleans the dirty keys of one sink until `config.stop` is cancelled.
///
/// Woken by commits in this process and by a timer. A key that is marked again while it is cleaned
/// stays dirty. Any number of processes may run it: one of them works, the others wait for it to
/// end. Holds one connection beside those of the pool.
pub async fn run_sink<S: Sink>(config: Config, pool: Pool, sink: S) -> Result<(), Error> {
    let mut failures = 0;
    while !config.stop.is_cancelled() {
        match Hold::take(&pool, S::NAME, &config.stop).await {
            Ok(Some(hold)) => {
                failures = 0;
                hold.work(&config, &pool, &sink).await;
            }
            Ok(None) => {}
            Err(error) => {
                failures += 1;
                let error = chain(&error);
                tracing::warn!(sink = S::NAME, failures, error, "no worker's lock, trying again");
                back_off(failures, &config.stop).await;
            }
        }
    }
    Ok(())
}

/// The right to clean a sink, until its session ends.
struct Hold(ClientWrapper);

impl Hold {
    /// Waits until no other process has it; none when stopped before.
    async fn take(
        pool: &Pool,
        sink: &str,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, Error> {
        let session = Object::take(pool.get().await?);
        let mut is_told = false;
        while !watch::hold_sink(&session, sink).await? {
            if !is_told {
                tracing::info!(sink, "another process cleans {sink}: waiting for its end");
                is_told = true;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = sleep(LOOK_INTERVAL) => {}
            }
        }
        Ok(Some(Self(session)))
    }

    /// Works until stopped, or until the right is lost. A batch is never broken off, so that the
    /// sink need not expect it: what it still does then, another process does again.
    async fn work<S: Sink>(&self, config: &Config, pool: &Pool, sink: &S) {
        sink.begin().await;
        let over = config.stop.child_token();
        let watch = async {
            tokio::select! {
                () = over.cancelled() => {}
                () = self.lost() => {
                    sink.end();
                    over.cancel();
                    tracing::warn!(sink = S::NAME, "the worker's lock is lost");
                }
            }
        };
        tokio::join!(watch, clean_until(&over, config, pool, sink));
    }

    async fn lost(&self) {
        loop {
            sleep(LOOK_INTERVAL).await;
            if !matches!(timeout(ANSWER_WAIT, self.0.check_connection()).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

async fn clean_until<S: Sink>(over: &CancellationToken, config: &Config, pool: &Pool, sink: &S) {
    let mut marks = config.monitor.marks();
    let mut failures = 0;
    let mut notes = Notes { at: None, is_up_to_date: true };
    let operations = Operations::new();
    while !over.is_cancelled() {
        // Seen before looking, so that a mark made meanwhile wakes the wait below.
        marks.borrow_and_update();
        let began = Instant::now();
        let cleaned = clean(&config.monitor, pool, sink, &mut notes).await;
        match &cleaned {
            Ok(0) => {}
            Ok(_) => operations.ended("clean", Status::Ok, began),
            Err(_) => operations.ended("clean", Status::Failed, began),
        }
        match cleaned {
            Ok(0) => {
                failures = 0;
                tokio::select! {
                    () = over.cancelled() => {}
                    () = sleep(LOOK_INTERVAL) => {}
                    Ok(()) = marks.changed() => {}
                }
            }
            Ok(count) => {
                failures = 0;
                tokio::select! {
                    () = over.cancelled() => {}
                    () = sink.rest(count, began.elapsed()) => {}
                }
            }
            Err(error) => {
                failures += 1;
                let error = chain(&error);
                tracing::warn!(
                    sink = S::NAME,
                    failures,
                    error,
                    "dirty keys stay dirty, trying again"
                );
                back_off(failures, over).await;
            }
        }
    }
}

/// Remembers a batch, has it cleaned, and forgets what was not marked meanwhile; what the sink
/// wants cleaned in its place is marked in the same transaction, and what is clean then is noted.
async fn clean<S: Sink>(
    monitor: &Monitor,
    pool: &Pool,
    sink: &S,
    notes: &mut Notes,
) -> Result<usize, Error> {
    let batch = watch::read_dirty(&pool.get().await?, S::NAME, BATCH_LIMIT).await?;
    monitor.dirty_keys().insert(S::NAME, batch.len() as u64);
    if batch.is_empty() && notes.is_up_to_date {
        return Ok(0);
    }
    let keys: BTreeSet<String> = batch.iter().map(|row| row.key.clone()).collect();
    let keys = Vec::from_iter(keys);
    let rest = if keys.is_empty() {
        Vec::new()
    } else {
        guard(sink.clean(&keys)).instrument(span(monitor, S::NAME, &batch)).await?
    };
    let rest = rest.into_iter().map(|key| Dirty { sink: S::NAME, key, place: None });
    let rest = Vec::from_iter(rest);
    let is_backlog = i64::try_from(batch.len()).is_ok_and(|rows| rows >= BATCH_LIMIT);
    let notes_now = !is_backlog || notes.at.is_none_or(|at| at.elapsed() >= NOTE_INTERVAL);
    let client = pool.get().await?;
    let tx = Transaction::new(&client);
    let noting = if notes_now { watch::Notes::Now } else { watch::Notes::Later };
    watch::forget(&tx, S::NAME, &batch, (&rest, noting)).await?;
    *notes = Notes {
        at: if notes_now { Some(Instant::now()) } else { notes.at },
        is_up_to_date: notes_now,
    };
    Ok(keys.len())
}

/// The cleaning of some keys: part of the trace of the first batch that marked them, as far as this
/// process applied it lately, and linked to the others.
fn span(monitor: &Monitor, sink: &'static str, batch: &[watch::Remembered]) -> Span {
    let span = tracing::info_span!("inbox.clean", sink, count = batch.len());
    let traces = monitor.traced().of(&batch.iter().map(|row| (row.stream.as_str(), row.high)));
    bus::trace::join(&span, &traces);
    span
}

/// What was noted of what is clean.
struct Notes {
    at: Option<Instant>,
    is_up_to_date: bool,
}
