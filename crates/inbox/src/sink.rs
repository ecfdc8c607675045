//! The worker of one sink: what a commit marked dirty is brought up to date, until it worked.

use std::time::Duration;

use deadpool_postgres::Pool;

use crate::apply::guard;
use crate::error::chain;
use crate::follower::back_off;
use crate::projection::Sink;
use crate::store::watch;
use crate::{Config, Error};

/// How many dirty keys are handed over at once.
const BATCH_LIMIT: i64 = 500;
/// How often it looks without being woken: another process may have marked keys.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Cleans the dirty keys of one sink until `config.stop` is cancelled.
///
/// Woken by commits in this process and by a timer. A key that is marked again while it is cleaned
/// stays dirty. Run one worker per sink.
pub async fn run_sink<S: Sink>(config: Config, pool: Pool, sink: S) -> Result<(), Error> {
    let stop = config.stop.clone();
    let mut marks = config.monitor.marks();
    let mut failures = 0;
    while !stop.is_cancelled() {
        // Seen before looking, so that a mark made meanwhile wakes the wait below.
        marks.borrow_and_update();
        match clean(&pool, &sink).await {
            Ok(0) => {
                failures = 0;
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(LOOK_INTERVAL) => {}
                    Ok(()) = marks.changed() => {}
                }
            }
            Ok(_) => failures = 0,
            Err(error) => {
                failures += 1;
                let error = chain(&error);
                tracing::warn!(
                    sink = S::NAME,
                    failures,
                    error,
                    "dirty keys stay dirty, trying again"
                );
                back_off(failures, &stop).await;
            }
        }
    }
    Ok(())
}

/// Remembers a batch, has it cleaned, and forgets what was not marked meanwhile.
async fn clean<S: Sink>(pool: &Pool, sink: &S) -> Result<usize, Error> {
    let batch = watch::read_dirty(&pool.get().await?, S::NAME, BATCH_LIMIT).await?;
    if batch.is_empty() {
        return Ok(0);
    }
    let mut keys: Vec<String> = batch.iter().map(|row| row.key.clone()).collect();
    keys.dedup();
    guard(sink.clean(&keys)).await?;
    watch::clean_dirty(&pool.get().await?, S::NAME, &batch).await?;
    Ok(keys.len())
}
