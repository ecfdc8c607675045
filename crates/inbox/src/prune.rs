//! The loop that ends notes which are older than anybody asks for: what became of each batch, and
//! when each sink had noticed it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::follower::Follower;
use crate::store::trail;
use crate::{Error, Projection};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(60);
/// So many rows go in one transaction.
const ROWS_MAX: i64 = 1_000;

/// Looks until stopped.
pub(crate) async fn run<P: Projection>(
    follower: Arc<Follower<P>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    while !stop.is_cancelled() {
        if let Err(error) = follower.prune(&stop).await {
            let (topic, error) = (&follower.topic, chain(&error));
            tracing::debug!(%topic, error, "old notes are ended later");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(INTERVAL) => {}
        }
    }
    Ok(())
}

impl<P: Projection> Follower<P> {
    /// Piece by piece, each in a transaction of its own.
    async fn prune(&self, stop: &CancellationToken) -> Result<(), Error> {
        let mut is_more = true;
        while is_more && !stop.is_cancelled() {
            let client = self.client().await?;
            let ended = trail::prune(&client, self.config.journal_days, ROWS_MAX).await?;
            is_more = ended.into_iter().any(|rows| i64::try_from(rows) == Ok(ROWS_MAX));
        }
        Ok(())
    }
}
