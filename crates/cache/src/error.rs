//! What can go wrong between this service and its cache.

use redis::RedisError;

use crate::fitness::Unfit;

/// A failure of the cache. A reader then does without it; an invalidation is carried out again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting names no Redis.
    #[error("read CACHE_URL")]
    Url(#[source] Box<RedisError>),
    /// Values of this instance could be old without anybody knowing.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// It did not answer in time, or not at all: whether it was done is unknown.
    #[error("{doing} the cache")]
    Unreachable {
        /// What we were doing.
        doing: &'static str,
        /// What the road to it said; nothing when the time was over.
        #[source]
        source: Option<Box<RedisError>>,
    },
    /// It answered that it will not, or what nobody can read.
    #[error("{doing} the cache")]
    Refused {
        /// What we were doing.
        doing: &'static str,
        /// What it answered.
        #[source]
        source: Box<RedisError>,
    },
}

impl Error {
    /// Whether trying again may help without anybody doing anything.
    pub const fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Url(_) | Self::Unfit(_) | Self::Refused { .. } => false,
        }
    }

    /// Whether the connection is another one from now on.
    pub(crate) fn breaks(&self) -> bool {
        match self {
            Self::Unreachable { source: Some(source), .. } => !source.is_timeout(),
            Self::Refused { source, .. } => source.is_unrecoverable_error(),
            Self::Unreachable { source: None, .. } | Self::Url(_) | Self::Unfit(_) => false,
        }
    }

    pub(crate) const fn late(doing: &'static str) -> Self {
        Self::Unreachable { doing, source: None }
    }

    pub(crate) fn new(doing: &'static str, error: RedisError) -> Self {
        let source = Box::new(error);
        if source.is_io_error() {
            return Self::Unreachable { doing, source: Some(source) };
        }
        Self::Refused { doing, source }
    }
}
