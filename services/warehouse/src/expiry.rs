//! Reservations end by themselves: whoever forgets one does not keep the stock.

use std::{slice, time::Duration};

use deadpool_postgres::{ClientWrapper, Pool};
use service_kit::{BoxError, chain};
use tokio_util::sync::CancellationToken;

use crate::{
    commands,
    error::Error,
    store::{self, Due},
};

/// The longest sleep. The shortest reservation lasts twice as long, so each is seen before its end
/// and nobody has to tell of a new one.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// How long to wait for locks that others have.
const PAUSE: Duration = Duration::from_millis(50);
/// So many reservations end in one transaction, whose locks others may wait for.
const BATCH: i64 = 100;
/// Ten minutes of lateness in forgetting cost nothing.
const PRUNE_INTERVAL: Duration = Duration::from_mins(10);

/// What a turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// So many reservations ended; more may be due. None where others hold all their stock.
    Expired(usize),
    /// None is due; the next one is after this time, or there is none.
    Idle(Option<Duration>),
}

/// Takes back the stock of reservations whose time is over, also of those whose time was over
/// before it ran. Several may run at once: each reservation ends under its lock, and so once.
#[derive(Debug)]
pub struct Expiry {
    pool: Pool,
}

impl Expiry {
    /// Over this database.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Ends reservations as they become due, until `stop`; a failure waits for the next time.
    pub async fn run(self, stop: CancellationToken) -> Result<(), BoxError> {
        while !stop.is_cancelled() {
            let sleep = match self.turn().await {
                // All that is due is held by another one, for a moment.
                Ok(Turn::Expired(0)) => PAUSE,
                Ok(Turn::Expired(_)) => continue,
                Ok(Turn::Idle(next)) => next.unwrap_or(SLEEP_MAX).min(SLEEP_MAX),
                Err(error) => {
                    tracing::warn!(error = chain(error.as_ref()), "could not end reservations");
                    SLEEP_MAX
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
        Ok(())
    }

    /// Ends the first reservations that are due.
    pub async fn turn(&self) -> Result<Turn, BoxError> {
        Ok(self.step().await?)
    }

    async fn step(&self) -> Result<Turn, Error> {
        let client = self.pool.get().await?;
        let mut next = store::next_due(&client, BATCH).await?;
        let wait = next.first().map(|first| first.wait);
        if wait.is_none_or(|wait| !wait.is_zero()) {
            return Ok(Turn::Idle(wait));
        }
        next.retain(|due| due.wait.is_zero());
        let expired = match commands::expire(&client, &next).await {
            Ok(expired) => expired,
            Err(error) => one_by_one(&client, &next, error).await?,
        };
        tracing::debug!(expired, "{expired} reservations ended by themselves");
        Ok(Turn::Expired(expired))
    }
}

/// Ends these by themselves, so that one that cannot be ended keeps no other; fails where none can.
async fn one_by_one(
    client: &ClientWrapper,
    due: &[Due],
    mut failure: Error,
) -> Result<usize, Error> {
    tracing::warn!(error = chain(&failure), "reservations are ended one by one");
    let mut expired = 0;
    for one in due {
        match commands::expire(client, slice::from_ref(one)).await {
            Ok(some) => expired += some,
            Err(error) => failure = error,
        }
    }
    if expired > 0 { Ok(expired) } else { Err(failure) }
}

/// Forgets reservations a day after their end and adjustments after thirty, until `stop`; a failure
/// waits for the next time.
pub async fn prune(pool: Pool, stop: CancellationToken) -> Result<(), BoxError> {
    loop {
        match forget(&pool).await {
            Ok(0) => {}
            Ok(pruned) => tracing::info!(pruned, "forgot {pruned} reservations and adjustments"),
            Err(error) => tracing::warn!(error = chain(&error), "could not forget reservations"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(PRUNE_INTERVAL) => {}
        }
    }
}

async fn forget(pool: &Pool) -> Result<u64, Error> {
    let client = pool.get().await?;
    let mut pruned = 0;
    loop {
        match store::prune(&client).await? {
            0 => return Ok(pruned),
            some => pruned += some,
        }
    }
}
