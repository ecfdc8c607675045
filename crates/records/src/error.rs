//! What can go wrong with a request, and what each failure means to the caller.

use axum::http::StatusCode;
use contracts::Invalid;
use service_kit::{Problem, chain};
use tokio_postgres::error::SqlState;

/// Why a command or a read did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such record.
    #[error("find {what} {key}")]
    Unknown {
        /// The kind of record.
        what: &'static str,
        /// Its name.
        key: String,
    },
    /// The statement that stores a record and appends its change answered no version of it.
    #[error("write {key}: its statement answered no version")]
    Unversioned {
        /// The record.
        key: String,
    },
    /// The record is not in the state that the caller named.
    #[error("write {key}: it is not in the state that the condition names")]
    Condition {
        /// The record.
        key: String,
    },
    /// Another request with this key is at work.
    #[error("take the idempotency key: a request with it is still running")]
    StillRunning,
    /// The key was used for another request.
    #[error("take the idempotency key: it was used for another request")]
    KeyReused,
    /// No connection could be had.
    #[error("get a connection to the database")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// A statement outside of a transaction failed.
    #[error("ask the database")]
    Database(#[from] tokio_postgres::Error),
    /// A row does not satisfy the rules under which it was stored.
    #[error("read column {column}")]
    Stored {
        /// The column.
        column: &'static str,
        /// The rule.
        #[source]
        source: Invalid,
    },
    /// The record breaks a rule that only the database could tell.
    #[error("store the record, of which {pointer:?} is refused")]
    Refused {
        /// JSON Pointer to the field.
        pointer: String,
        /// The rule.
        #[source]
        source: Invalid,
    },
    /// The write or its change could not be stored.
    #[error("store the change")]
    Outbox(#[from] outbox::Error),
}

impl Error {
    /// The state that the database told.
    fn state(&self) -> Option<&str> {
        let (Self::Database(cause) | Self::Outbox(outbox::Error::Database(cause))) = self else {
            return None;
        };
        cause.code().map(SqlState::code)
    }

    /// Whether another writer came first, so that the same may well work at the next try.
    pub(crate) fn lost_against_another(&self) -> bool {
        self.state().is_some_and(|state| state.starts_with("40") || state == "55P03")
    }

    /// Why the record itself was refused, where it was: wrong data, a broken constraint, a limit of
    /// the database, or a rule of the outbox.
    pub(crate) fn refusal(&self) -> Option<Problem> {
        if let Self::Refused { pointer, source } = self {
            return Some(Problem::refused(pointer, source.clone()));
        }
        if let Self::Outbox(outbox::Error::Refused { reason, .. }) = self {
            return Some(Problem::refused("", Invalid::new("not-publishable", reason)));
        }
        let blamed = ["22", "23", "54"];
        let is_blamed =
            blamed.iter().any(|class| self.state().is_some_and(|s| s.starts_with(class)));
        let reason = "is refused by the database; the log names the cause";
        is_blamed.then(|| Problem::refused("", Invalid::new("not-storable", reason)))
    }
}

impl From<Error> for Problem {
    /// Failures of ours are logged here, once; their text never leaves the process.
    fn from(error: Error) -> Self {
        let fault = |problem: Problem| {
            tracing::error!(error = chain(&error), "a request failed");
            problem
        };
        match &error {
            Error::Unknown { what, key } => Self::not_found(format!("there is no {what} {key}")),
            Error::Condition { key }
            | Error::Outbox(outbox::Error::VersionMismatch { key, .. }) => {
                Self::precondition_failed(format!(
                    "{key} is not in the state that If-Match or If-None-Match names; read it again"
                ))
            }
            Error::StillRunning => {
                let title = "The same request is still running";
                Self::new(StatusCode::CONFLICT, "still-running", title)
                    .detail("a request with this Idempotency-Key is at work; come again later")
            }
            Error::KeyReused => {
                let title = "The key was used for another request";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", title)
                    .detail("this Idempotency-Key belongs to another method, path or body")
            }
            Error::Pool(_) | Error::Outbox(outbox::Error::RolledBack) => {
                fault(Self::unavailable("the database is busy or away; nothing was changed"))
            }
            Error::Outbox(outbox::Error::CommitUnknown(_)) => fault(Self::unavailable(
                "the outcome is unknown; repeat the request with its Idempotency-Key or condition",
            )),
            Error::Database(cause) | Error::Outbox(outbox::Error::Database(cause)) => {
                fault(of_database(cause))
            }
            Error::Refused { pointer, source } => Self::refused(pointer, source.clone()),
            Error::Stored { .. }
            | Error::Unversioned { .. }
            | Error::Outbox(outbox::Error::Refused { .. } | outbox::Error::Payload { .. }) => {
                fault(Self::internal())
            }
        }
    }
}

/// What passes by itself asks the caller to come again; anything else is a mistake of ours.
fn of_database(cause: &tokio_postgres::Error) -> Problem {
    // 25P03 and 25P04: this process was so busy that the database ended its transaction.
    let passing = ["08", "25P03", "25P04", "40", "53", "55", "57", "58"];
    let Some(state) = cause.code() else {
        return Problem::unavailable("the connection to the database broke; nothing is known");
    };
    if passing.iter().any(|class| state.code().starts_with(class)) {
        return Problem::unavailable("the database is busy or away; nothing was changed");
    }
    Problem::internal()
}
