//! What can go wrong between this service and the bus.

use std::error;

use contracts::Stream;

use crate::Unfit;

/// A failure of the bus, towards whoever publishes or connects.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The memory transport was configured; a test makes it by [`crate::Bus::memory`].
    #[error("transport memory exists inside one process only")]
    MemoryIsForTests,
    /// A token is missing, empty or not fit for a header.
    #[error("read {0}: it must be set, of printable ASCII characters")]
    Token(&'static str),
    /// The Redis transport was configured without its server.
    #[error("connect to Redis: REDIS_URL must be set with transport redis")]
    NoRedis,
    /// `REDIS_URL` cannot be used; its text holds a password, so none of it is repeated.
    #[error("read REDIS_URL")]
    RedisUrl(#[source] redis::RedisError),
    /// Broker or sidecar would lose deliveries in silence.
    #[error("check what carries envelopes")]
    Unfit(#[from] Unfit),
    /// A loop that reads streams failed, which it never does for want of a broker.
    #[error("read the streams of the broker")]
    Reading(#[source] tokio::task::JoinError),
    /// Whether the envelope was published is unknown: publish it again.
    #[error("publish to {stream}")]
    Publish {
        /// Where it was to go.
        stream: Stream,
        /// What the sidecar or the broker, or the road to it, answered.
        #[source]
        source: Box<dyn error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn publish(
        stream: &Stream,
        source: impl error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Publish { stream: stream.clone(), source: Box::new(source) }
    }
}
