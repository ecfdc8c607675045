//! The worker that lets promotions start and end: finds the prices that have changed by themselves,
//! decides them anew and appends them.
//!
//! Each price's row says until when it holds, so what is past is due, whether this process ran at
//! that moment or not: a start that was slept through is published right after the restart.

use std::time::Duration;

use deadpool_postgres::Pool;
use outbox::Tx;
use records::Error;
use service_kit::{BoxError, chain};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{commands, domain::Time, store};

/// It looks at least this often, for what other processes wrote.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// And at most this often, while a write holds a row that is due.
const PAUSE: Duration = Duration::from_millis(10);
/// After a failure, at first and at last.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Prices in one transaction: writers of the same prices wait for no more than these.
const BATCH: usize = 500;

/// Tells the worker of this process what its writes mean to it.
#[derive(Debug, Default)]
pub(crate) struct Boundaries(Notify);

impl Boundaries {
    /// A price was stored that changes by itself then; what is further off than the worker ever
    /// sleeps, it finds by itself.
    pub(crate) fn announce(&self, until: Option<Time>, now: Time) {
        let wait = until.and_then(|until| (until - now).to_std().ok());
        if wait.is_some_and(|wait| wait < LOOK_INTERVAL) {
            self.0.notify_one();
        }
    }

    /// Publishes every price that changes by itself, at that moment, until `stop`.
    pub(crate) async fn keep(&self, pool: &Pool, stop: &CancellationToken) -> Result<(), BoxError> {
        let mut retry = RETRY_MIN;
        while !stop.is_cancelled() {
            let wait = match turn(pool).await {
                Ok(wait) => {
                    if retry > RETRY_MIN {
                        tracing::info!("prices change by themselves again");
                        retry = RETRY_MIN;
                    }
                    wait
                }
                Err(error) => {
                    // Once: the tries that follow fail in the same way.
                    if retry == RETRY_MIN {
                        let error = chain(&error);
                        tracing::warn!(error, "prices do not change by themselves; trying again");
                    }
                    let wait = retry;
                    retry = (retry * 2).min(RETRY_MAX);
                    wait
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(wait) => {}
                () = self.0.notified() => {}
            }
        }
        Ok(())
    }
}

/// Publishes all that is due; says how long nothing will be.
async fn turn(pool: &Pool) -> Result<Duration, Error> {
    let client = pool.get().await?;
    loop {
        let tx = Tx::begin(&client);
        let due = store::take_due(&tx, i64::try_from(BATCH).unwrap_or(i64::MAX)).await?;
        let taken = due.terms.len();
        if taken > 0 {
            commands::turn(&tx, due).await?;
        }
        tx.commit().await?;
        if taken < BATCH {
            break;
        }
    }
    let next = store::next_due(&client).await?;
    Ok(next.map_or(LOOK_INTERVAL, |wait| wait.clamp(PAUSE, LOOK_INTERVAL)))
}
