//! From a service's transaction to sealed, numbered changes that nobody can lose.
//!
//! A service writes its own row and appends the change in one transaction ([`Tx`], [`append`]). The
//! [`Relay`] of that database then gives every committed change a dense number in its stream, tells
//! the bus, and answers consumers that ask what follows their position. It promises that nothing
//! committed is left out, nothing uncommitted is numbered, the changes of an entity keep their
//! order, and a number never means two things under one term. It does not promise that a publish
//! arrives: that is what the feed is for.
//!
//! ```no_run
//! # async fn example(client: &deadpool_postgres::Client) -> Result<(), outbox::Error> {
//! let tx = outbox::Tx::begin(client);
//! tx.execute("insert into returns.returns (id) values ($1)", &[&"R-1"]).await?;
//! outbox::append(&tx, "returns.returns", "R-1", &serde_json::json!({"sku": "MH01"})).await?;
//! tx.commit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! In two round trips: the insert travels with `begin`, and [`Tx::append_and_commit`] sends the
//! append with `commit`. In one, where nothing is to be decided in between: [`write()`].

mod append;
mod error;
mod relay;
mod tx;

pub use crate::append::{
    Append, append, append_if, append_many, delete, delete_if, register, write,
};
pub use crate::error::Error;
pub use crate::relay::{Config, Relay, RelayError, Turn, routes, trail_routes};
pub use crate::tx::Tx;

/// The tables and functions of schema `outbox`, in order: name and SQL.
pub const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__outbox", include_str!("../migrations/V1__outbox.sql")),
    ("V2__sealed_at", include_str!("../migrations/V2__sealed_at.sql")),
    ("V3__append_many", include_str!("../migrations/V3__append_many.sql")),
    ("V4__append", include_str!("../migrations/V4__append.sql")),
];
