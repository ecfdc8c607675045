//! From a delivery to a stored outcome: position, versions, cases, journal, dirty keys, rebuild.
//!
//! Promises: every change of a followed topic has its effect exactly once, in one transaction with
//! the position; a copy never goes backwards; a bad record becomes a case and stops nothing else;
//! the books balance at every instant. Nothing depends on the broker: a push is a hint that carries
//! data, and what it does not bring is read from the source's feed.
//!
//! It does not decide what a copy looks like: that is a [`Projection`]. It touches nothing outside
//! PostgreSQL inside a transaction: what must notice a commit is a [`Sink`].
//!
//! ```no_run
//! use inbox::{Change, Error, Transaction};
//! # use deadpool_postgres::Pool;
//!
//! #[derive(serde::Deserialize)]
//! struct Return {
//!     reason: String, // only the fields you want
//! }
//!
//! struct Returns;
//!
//! impl inbox::Projection for Returns {
//!     const TOPIC: &'static str = "returns.returns";
//!     type Entity = Return;
//!     async fn apply(&self, tx: &Transaction<'_>, all: &[Change<Return>]) -> Result<(), Error> {
//!         store::upsert_returns(tx, all).await // newest per key; None = deleted
//!     }
//! }
//! # mod store {
//! #     use inbox::{Change, Error, Transaction};
//! #     pub async fn upsert_returns<T>(
//! #         tx: &Transaction<'_>,
//! #         all: &[Change<T>],
//! #     ) -> Result<(), Error> {
//! #         let keys: Vec<_> = all.iter().map(|change| change.key.as_str()).collect();
//! #         let upsert = tx.prepare_cached("select $1::text[]").await?;
//! #         tx.execute(&upsert, &[&keys]).await?;
//! #         Ok(())
//! #     }
//! # }
//! # async fn wire(config: inbox::Config, pool: Pool, bus: bus::Bus) -> Result<(), Error> {
//! inbox::run(config, pool, bus, Returns).await
//! # }
//! ```

mod apply;
mod batch;
mod careful;
mod config;
mod error;
mod follower;
mod fresh;
mod gauges;
mod held;
mod intake;
mod joined;
mod journal;
mod lent;
mod metrics;
mod monitor;
mod pipeline;
mod projection;
mod prune;
mod reader;
mod rebuild;
mod receive;
mod sink;
mod source;
mod status;
mod store;
mod sync;
mod traced;
mod trail;
mod transaction;

pub use crate::config::{Config, OnDivergence, Road};
pub use crate::error::Error;
pub use crate::follower::run;
pub use crate::held::{Held, Record, held, past, set_aside};
pub use crate::monitor::Monitor;
pub use crate::projection::{Change, Dirty, Place, Projection, Sink};
pub use crate::sink::run_sink;
pub use crate::transaction::Transaction;

/// The tables of schema `inbox`, for `migrate`.
pub const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__create_inbox", include_str!("../migrations/V1__create_inbox.sql")),
    ("V2__cleaned", include_str!("../migrations/V2__cleaned.sql")),
    ("V3__term_and_retention", include_str!("../migrations/V3__term_and_retention.sql")),
];
