//! What can go wrong at a relay, and what each failure means to who asked.

use contracts::{Key, Pn, Problem, Source, Stream, Topic};
use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// A relay could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The settings contradict each other.
    #[error("open the relay: {0}")]
    Settings(String),
    /// The database's URL cannot be read.
    #[error("read the database's url")]
    Url(#[source] tokio_postgres::Error),
    /// The pool of connections cannot be built.
    #[error("build the pool of connections")]
    Build(#[source] deadpool_postgres::BuildError),
    /// No connection was to be had.
    #[error("get a connection to the source's database")]
    Pool(#[source] PoolError),
    /// A statement failed.
    #[error("ask the source's database")]
    Database(#[source] tokio_postgres::Error),
    /// The database took too long.
    #[error("wait for the source's database")]
    Slow,
    /// A row holds what the outbox never writes.
    #[error("read a row of the outbox: {0}")]
    Row(String),
    /// The server is not a primary.
    #[error("the database is not a primary")]
    NotPrimary,
    /// This relay does not lead, so it cannot say what is current.
    #[error("this relay does not lead")]
    NotLeading,
    /// The tick state was written in another cluster: a copy, or an upgrade to be confirmed.
    #[error("the database belongs to another cluster than the one that was ticked")]
    OtherSystem,
    /// Transaction ids went back: old segments would name other rows.
    #[error("the database's transaction ids went back; renew the source")]
    WentBack,
    /// No such source here.
    #[error("source {0} is not served here")]
    UnknownSource(Source),
    /// No such topic at its source.
    #[error("the source {} has no topic {_0}", _0.source())]
    UnknownTopic(Topic),
    /// The entity never existed.
    #[error("topic {topic} never had the key {key}")]
    UnknownKey {
        /// The topic.
        topic: Topic,
        /// The key asked for.
        key: Key,
    },
    /// The source does not hold the position.
    #[error("stream {stream} does not hold number {pn} under that term")]
    Diverged {
        /// The stream.
        stream: Stream,
        /// The number asked with.
        pn: Pn,
    },
    /// What follows the position is no longer held.
    #[error("stream {stream} holds the numbers above {floor} only")]
    BelowFloor {
        /// The stream.
        stream: Stream,
        /// Its floor.
        floor: Pn,
    },
    /// The consumer's name belongs to another identity.
    #[error("the name {0} belongs to another consumer")]
    OtherIdentity(String),
    /// The request cannot be understood.
    #[error("read the request: {0}")]
    BadRequest(String),
    /// A topic that is not of this source.
    #[error("topic {topic} is not of source {source_name}")]
    ForeignTopic {
        /// The topic.
        topic: Topic,
        /// The source asked.
        source_name: Source,
    },
    /// No segment holds the number, although it lies between floor and head.
    #[error("stream {stream}: no segment holds number {pn}")]
    Gap {
        /// The stream.
        stream: Stream,
        /// The number.
        pn: Pn,
    },
    /// Rows of a segment are gone, although its numbers are above the floor. Never numbered.
    #[error("stream {stream}: the segment from {first} has {found} rows, not {expected}")]
    Damaged {
        /// The stream.
        stream: Stream,
        /// The segment's first number.
        first: Pn,
        /// The rows that are there.
        found: i64,
        /// The rows that were sealed.
        expected: i64,
    },
}

impl RelayError {
    /// Whether the database took too long, by our clock or by its own.
    pub(super) fn is_slow(&self) -> bool {
        let Self::Database(error) = self else { return matches!(self, Self::Slow) };
        error.code() == Some(&SqlState::QUERY_CANCELED)
    }
}

impl From<&RelayError> for Problem {
    /// The texts of the database never leave the process.
    fn from(error: &RelayError) -> Self {
        let problem = match error {
            RelayError::Diverged { .. } => {
                Self::new(409, "diverged", "Copy and source have different pasts")
            }
            RelayError::BelowFloor { .. } => {
                Self::new(410, "below-floor", "What follows the position is no longer held")
            }
            RelayError::OtherIdentity(_) => {
                Self::new(409, "other-identity", "The name belongs to another consumer")
            }
            RelayError::NotPrimary | RelayError::NotLeading => {
                Self::new(503, "not-primary", "This relay cannot say what is current")
            }
            RelayError::UnknownSource(_) => {
                Self::new(404, "unknown-source", "The source is not served here")
            }
            RelayError::UnknownTopic(_) => {
                Self::new(404, "unknown-topic", "The source has no such topic")
            }
            RelayError::UnknownKey { .. } => {
                Self::new(404, "unknown-key", "The entity never existed")
            }
            RelayError::BadRequest(_) | RelayError::ForeignTopic { .. } => {
                Self::new(400, "bad-request", "The request cannot be understood")
            }
            RelayError::Gap { .. } | RelayError::Damaged { .. } | RelayError::Row(_) => {
                Self::new(500, "damaged", "Rows of the outbox are gone or unreadable")
            }
            RelayError::OtherSystem
            | RelayError::WentBack
            | RelayError::Settings(_)
            | RelayError::Url(_)
            | RelayError::Build(_)
            | RelayError::Pool(_)
            | RelayError::Database(_)
            | RelayError::Slow => Self::new(503, "unavailable", "The source is not available"),
        };
        problem.with_detail(error.to_string())
    }
}
