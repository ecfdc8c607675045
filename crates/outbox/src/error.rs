//! What can go wrong between a service and its outbox.

use contracts::Version;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// An append or its transaction did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The entity is not at the version that the caller expected; nothing was changed.
    #[error("append {key}: its version is {actual}, not {expected}")]
    VersionMismatch {
        /// The entity.
        key: String,
        /// What the caller expected; 0 is absent or deleted.
        expected: Version,
        /// What holds; 0 if it never existed.
        actual: Version,
    },
    /// The outbox refuses the change: unknown topic, ill-formed key, or a payload that could not
    /// travel.
    #[error("append {key}: {reason}")]
    Refused {
        /// The entity.
        key: String,
        /// Why, in words of the outbox.
        reason: String,
    },
    /// The value cannot be written as JSON.
    #[error("write the payload of {key} as json")]
    Payload {
        /// The entity.
        key: String,
        /// What the serialiser says.
        #[source]
        source: serde_json::Error,
    },
    /// A statement failed; the transaction rolls back.
    #[error("run a statement of the transaction")]
    Database(#[source] tokio_postgres::Error),
    /// A statement of the transaction had failed before; nothing was committed.
    #[error("commit a transaction in which a statement had failed")]
    RolledBack,
    /// The answer that says whether it was committed was lost: it may have been.
    #[error("commit: the outcome is unknown")]
    CommitUnknown(#[source] tokio_postgres::Error),
}

impl Error {
    /// The database's code of the failure, where the database answered.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Database(source) | Self::CommitUnknown(source) => source.code(),
            Self::VersionMismatch { .. }
            | Self::Refused { .. }
            | Self::Payload { .. }
            | Self::RolledBack => None,
        }
    }

    /// What a failed append means. The two codes are raised by `outbox.append` itself.
    pub(crate) fn of_append(
        source: tokio_postgres::Error,
        key: &str,
        expected: Option<Version>,
    ) -> Self {
        let Some(refusal) = source.as_db_error() else { return Self::Database(source) };
        match refusal.code().code() {
            "SL412" => Self::VersionMismatch {
                key: key.to_owned(),
                expected: expected.unwrap_or_default(),
                actual: refusal
                    .detail()
                    .and_then(|actual| Version::parse(actual).ok())
                    .unwrap_or_default(),
            },
            "SL422" => Self::Refused { key: key.to_owned(), reason: refusal.message().to_owned() },
            _ => Self::Database(source),
        }
    }

    /// What the failure of a statement means that is a transaction of its own. Where the database
    /// refused it, it rolled back; one that ended the session instead may have come after the
    /// commit, and of one that the driver could not send it does not say so.
    pub(crate) fn of_write(
        source: tokio_postgres::Error,
        key: &str,
        expected: Option<Version>,
    ) -> Self {
        let severity = source.as_db_error().and_then(DbError::parsed_severity);
        if severity == Some(Severity::Error) {
            Self::of_append(source, key, expected)
        } else {
            Self::CommitUnknown(source)
        }
    }

    /// What a failed commit means. Where the database says that it rolled back, it did; every other
    /// failure, a lost connection above all, leaves the outcome open.
    pub(crate) fn of_commit(source: tokio_postgres::Error) -> Self {
        match source.code().map(SqlState::code) {
            Some("25P02") => Self::RolledBack,
            Some(code) if code.starts_with("23") || code.starts_with("40") => {
                Self::Database(source)
            }
            _ => Self::CommitUnknown(source),
        }
    }
}
