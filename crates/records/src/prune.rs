//! Forgetting what is kept for a day only.

use std::time::Duration;

use deadpool_postgres::Pool;
use service_kit::{BoxError, chain};
use tokio_util::sync::CancellationToken;

use crate::{Error, import::store::prune_imports, store};

/// Ten minutes of lateness cost nothing.
const INTERVAL: Duration = Duration::from_mins(10);

/// Forgets answers and uploads that are older than they must be kept, until `stop`; a failure waits
/// for the next time. A task of every service that owns records.
pub async fn prune(pool: Pool, stop: CancellationToken) -> Result<(), BoxError> {
    loop {
        match turn(&pool).await {
            Ok(0) => {}
            Ok(pruned) => tracing::info!(pruned, "forgot {pruned} rows of more than a day ago"),
            Err(error) => tracing::warn!(error = chain(&error), "could not prune old answers"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn turn(pool: &Pool) -> Result<u64, Error> {
    let client = pool.get().await?;
    let mut pruned = 0;
    loop {
        let some = store::prune_answers(&client).await? + prune_imports(&client).await?;
        pruned += some;
        if some == 0 {
            return Ok(pruned);
        }
    }
}
