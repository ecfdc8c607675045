//! The loop that finds out up to which moment a copy and its sinks are clean: after every call of
//! sync it looks where they stand, and again until the heads of that call are reached.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::follower::Follower;
use crate::store::fresh::read_sight;
use crate::{Error, Projection};

/// How soon it looks again, at first; each further time it waits twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(320);

/// Looks until stopped; costs nothing where no sink is tracked.
pub(crate) async fn run<P: Projection>(
    follower: Arc<Follower<P>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut calls = follower.monitor().calls();
    let mut pause = PAUSE_MIN;
    while !stop.is_cancelled() {
        if let Err(error) = follower.look_clean().await {
            // The moment stands still, and whoever depends on it sees that.
            let (topic, error) = (&follower.topic, chain(&error));
            tracing::debug!(%topic, error, "what is clean is looked at later");
        }
        let is_waiting = !follower.monitor().waiting(&follower.topic).is_empty();
        tokio::select! {
            () = stop.cancelled() => {}
            Ok(()) = calls.changed() => pause = PAUSE_MIN,
            () = sleep(pause), if is_waiting => pause = PAUSE_MAX.min(pause * 2),
        }
    }
    Ok(())
}

impl<P: Projection> Follower<P> {
    async fn look_clean(&self) -> Result<(), Error> {
        for sink in self.monitor().waiting(&self.topic) {
            let sight = read_sight(&self.client().await?, &self.topic, sink).await?;
            if sight.has_unnumbered || sight.streams.values().any(|stream| stream.low.is_some()) {
                // Another process may have marked them, whose word the worker here does not hear.
                self.monitor().marked();
            }
            self.monitor().settled(&self.topic, sink, &sight);
        }
        Ok(())
    }
}
