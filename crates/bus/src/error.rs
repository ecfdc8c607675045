//! What can go wrong between this service and the bus.

use contracts::Stream;

/// A failure of the bus, towards whoever publishes or connects.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The memory transport was configured; a test makes it by [`crate::Bus::memory`].
    #[error("transport memory exists inside one process only")]
    MemoryIsForTests,
    /// A token is missing, empty or not fit for a header.
    #[error("read {0}: it must be set, of printable ASCII characters")]
    Token(&'static str),
    /// Whether the envelope was published is unknown: publish it again.
    #[error("publish to {stream}")]
    Publish {
        /// Where it was to go.
        stream: Stream,
        /// What the sidecar, or the road to it, answered.
        #[source]
        source: Box<tonic::Status>,
    },
}

impl Error {
    pub(crate) fn publish(stream: &Stream, status: tonic::Status) -> Self {
        Self::Publish { stream: stream.clone(), source: Box::new(status) }
    }
}
