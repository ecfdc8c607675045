//! What can go wrong with a request, and what each failure means to the caller.

use axum::http::StatusCode;
use contracts::Id;
use service_kit::{Problem, chain};

use crate::{
    domain::{Ended, Refusal, StockKey},
    reservation_id::ReservationId,
};

/// Why a command or a read did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What is in stock does not allow it.
    #[error("change stock {}", .stock.name())]
    Refused {
        /// The stock.
        stock: StockKey,
        /// Why not.
        #[source]
        source: Refusal,
    },
    /// Stock that is promised to somebody cannot be deleted.
    #[error("delete stock {}: {reserved} are reserved", .stock.name())]
    IsReserved {
        /// The stock.
        stock: StockKey,
        /// How much.
        reserved: i64,
    },
    /// A location that has stock cannot be deleted.
    #[error("delete location {location}: it has stock")]
    HasStock {
        /// The location.
        location: Id,
    },
    /// The reservation has ended already.
    #[error("end reservation {id}: it is {}", .ended.0.as_str())]
    Ended {
        /// The reservation.
        id: ReservationId,
        /// In which way.
        ended: Ended,
    },
    /// Others created and deleted the same records all the while.
    #[error("create stock {}: others create and delete it", .stock.name())]
    Contended {
        /// The stock.
        stock: StockKey,
    },
    /// What can go wrong with any record.
    #[error(transparent)]
    Records(#[from] records::Error),
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

impl From<Error> for records::Error {
    /// For an import, which tries a batch again record by record where one of them is to blame.
    fn from(error: Error) -> Self {
        match error {
            Error::Records(error) => error,
            Error::Contended { .. } => outbox::Error::RolledBack.into(),
            // Not a fault of ours among them: that is told to nobody as his own.
            Error::Refused { .. }
            | Error::IsReserved { .. }
            | Error::HasStock { .. }
            | Error::Ended { .. } => {
                let (key, reason) = (String::new(), chain(&error));
                outbox::Error::Refused { key, reason }.into()
            }
        }
    }
}

impl From<Error> for Problem {
    /// Failures of ours are logged here, once; their text never leaves the process.
    fn from(error: Error) -> Self {
        let conflict = |code, title| Self::new(StatusCode::CONFLICT, code, title);
        match error {
            Error::Refused { stock, source } => {
                let (field, code) = (source.field(), source.code());
                conflict(code, "Stock does not allow it")
                    .detail(format!("{field} for {} {source}", stock.name()))
                    .field(format!("/{field}"), code, source.to_string())
            }
            Error::IsReserved { stock, reserved } => conflict("reserved", "The stock is reserved")
                .detail(format!("of {} {reserved} are reserved", stock.name())),
            Error::HasStock { location } => conflict("has-stock", "The location has stock")
                .detail(format!("delete the stock of {location} first, then the location")),
            Error::Ended { id, ended: Ended(state) } => {
                let title = "The reservation has ended";
                Self::new(StatusCode::GONE, "reservation-ended", title)
                    .detail(format!("reservation {id} is {}; nothing was changed", state.as_str()))
            }
            Error::Contended { .. } => {
                Self::unavailable("others create and delete the same stock; nothing was changed")
            }
            Error::Records(error) => error.into(),
        }
    }
}
