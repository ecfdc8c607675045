//! What can go wrong with a command, a read or the boundary worker.

use contracts::Invalid;
use service_kit::{Problem, chain};

/// Why something did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The record could not be read or written.
    #[error(transparent)]
    Records(#[from] records::Error),
    /// A row holds what no rule of this version accepts.
    #[error("read the stored terms of {sku}")]
    Stored {
        /// The product.
        sku: String,
        /// The rule.
        #[source]
        rule: Invalid,
    },
}

impl From<outbox::Error> for Error {
    fn from(error: outbox::Error) -> Self {
        Self::Records(error.into())
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Records(error.into())
    }
}

impl From<deadpool_postgres::PoolError> for Error {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Records(error.into())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Records(error) => error.into(),
            Error::Stored { .. } => {
                tracing::error!(error = chain(&error), "a request failed");
                Self::internal()
            }
        }
    }
}
