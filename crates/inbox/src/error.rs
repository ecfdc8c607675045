//! What can go wrong between a delivery and its commit, and what it means.

use std::error::Error as StdError;

pub(crate) use contracts::chain;
use contracts::{Stream, Topic};
use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

type BoxError = Box<dyn StdError + Send + Sync>;

/// A failure of the inbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statement failed.
    #[error("use the database of the inbox")]
    Store(#[from] tokio_postgres::Error),
    /// There was no connection to be had.
    #[error("take a database connection")]
    Pool(#[from] PoolError),
    /// What the database holds is not what this crate writes.
    #[error("read what the inbox stored: {0}")]
    Corrupt(String),
    /// The consumer's own code failed.
    #[error("run the code of the consumer")]
    Consumer(#[source] BoxError),
    /// The consumer's own code panicked.
    #[error("run the code of the consumer: it panicked: {0}")]
    Panicked(String),
    /// Another stream of the topic changed one of the keys between gate and commit.
    #[error("store versions that another stream has overtaken")]
    Overtaken,
    /// It took too long.
    #[error("{0}: it took too long")]
    TimedOut(&'static str),
    /// The relay could not be asked.
    #[error("ask {peer}")]
    Call {
        /// Who was asked.
        peer: String,
        /// What went wrong on the way.
        #[source]
        source: reqwest::Error,
    },
    /// The relay said no.
    #[error("ask {peer}: refused with status {status}, code {code}")]
    Refused {
        /// Who was asked.
        peer: String,
        /// The HTTP status.
        status: u16,
        /// The problem's code, or `none` where the answer was no problem.
        code: String,
    },
    /// The relay's answer does not end.
    #[error("ask {peer}: the answer is longer than {max} bytes")]
    TooLong {
        /// Who was asked.
        peer: String,
        /// As much is read.
        max: usize,
    },
    /// The relay's answer cannot be read.
    #[error("read the answer of {peer} on {stream}: {reason}")]
    UnreadableAnswer {
        /// Who was asked.
        peer: String,
        /// What was asked for.
        stream: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// A setting is missing or makes no sense.
    #[error("configure the inbox: {0}")]
    Config(String),
    /// A projection's topic is not a topic.
    #[error("follow a topic")]
    Topic(#[from] contracts::InvalidName),
    /// A part of the inbox ended that must not.
    #[error("follow {topic}: a task ended")]
    Task {
        /// The topic.
        topic: Topic,
        /// How it ended.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl Error {
    /// A failure of the consumer's own code; it counts as the record's fault unless the database
    /// stands behind it and says otherwise.
    pub fn consumer(source: impl Into<BoxError>) -> Self {
        Self::Consumer(source.into())
    }

    /// Whether the record is at fault, so that it may become a case, or we are unwell and try
    /// again.
    pub fn blames_record(&self) -> bool {
        match self {
            Self::Panicked(_) => true,
            Self::Store(error) => statement_blames_record(error),
            Self::Consumer(source) => match database_error(source.as_ref()) {
                Some(error) => statement_blames_record(error),
                None => !has_pool_error(source.as_ref()),
            },
            Self::Pool(_)
            | Self::Corrupt(_)
            | Self::Overtaken
            | Self::TimedOut(_)
            | Self::Call { .. }
            | Self::Refused { .. }
            | Self::TooLong { .. }
            | Self::UnreadableAnswer { .. }
            | Self::Config(_)
            | Self::Topic(_)
            | Self::Task { .. } => false,
        }
    }

    /// Whether the source said what nobody can read.
    pub(crate) const fn is_unreadable_answer(&self) -> bool {
        matches!(self, Self::UnreadableAnswer { .. } | Self::TooLong { .. })
    }

    pub(crate) fn unreadable_answer(
        peer: &str,
        stream: &Stream,
        reason: impl Into<String>,
    ) -> Self {
        let (peer, stream, reason) = (peer.to_owned(), stream.to_string(), reason.into());
        Self::UnreadableAnswer { peer, stream, reason }
    }
}

/// Connection, transaction rollback, resources, prerequisite state, operator and system: the
/// classes in which the same record may well be accepted at the next try.
const UNWELL: [&str; 6] = ["08", "40", "53", "55", "57", "58"];

fn statement_blames_record(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        // The server ended a transaction in which we were silent for too long.
        Some(&SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT) => false,
        Some(state) => !UNWELL.iter().any(|class| state.code().starts_with(class)),
        // Without a state it never reached the server: a lost connection, or a value that has no
        // form in the database.
        None => !error.is_closed() && !causes(error).any(<dyn StdError>::is::<std::io::Error>),
    }
}

fn database_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a tokio_postgres::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn has_pool_error(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(<dyn StdError>::is::<PoolError>)
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_consumer_blames_the_record_unless_we_are_unwell() {
        assert!(Error::consumer("no such currency").blames_record());
        assert!(Error::Panicked("index out of bounds".to_owned()).blames_record());
        assert!(!Error::consumer(PoolError::Closed).blames_record());
        assert!(!Error::consumer(Error::Pool(PoolError::Closed)).blames_record());
        assert!(!Error::Overtaken.blames_record());
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = Error::consumer("no such currency");
        assert_eq!(chain(&error), "run the code of the consumer: no such currency");
    }
}
