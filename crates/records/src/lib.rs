//! Records that a service owns, as HTTP sees them: read with their state, written once and only in
//! the state that the caller names, imported line by line.
//!
//! It promises that a write and its change are stored together or not at all, that a condition is
//! decided under the record's lock, and that a request with an `Idempotency-Key` is carried out
//! once for a day, however often it is sent. It knows no record: the owner brings domain, SQL,
//! payload and routes. A command of an owner is [`write()`], or, where the payload depends on what
//! the save meets:
//!
//! ```no_run
//! # use records::{Answer, Before, Demands, Error, Written, answered, finish};
//! # async fn save(tx: &outbox::Tx<'_>) -> Result<Before, Error> {
//! #     Before::of(&tx.query_one("select", &[]).await?)
//! # }
//! # async fn command(client: &deadpool_postgres::ClientWrapper, demands: &Demands)
//! # -> Result<Answer, Error> {
//! let tx = outbox::Tx::begin(client);
//! if let Some(answer) = answered(&tx, demands).await? {
//!     return Ok(answer);
//! }
//! let before = save(&tx).await?;
//! let change = outbox::Append::upsert("returns.returns", "R-1", &"the payload")?;
//! finish(tx, change, &before, Written::default(), demands).await
//! # }
//! ```
//!
//! An import needs a [`Collection`], a handler that hands it with the [`Upload`] to [`import()`],
//! and [`uploads`] around the route.

mod body;
mod command;
mod error;
mod import;
mod prune;
mod read;
mod refusals;
mod request;
mod store;

pub use body::{BrokenRules, check_id, named, same};
pub use command::{
    Answer, Before, Demands, Once, Save, Written, answered, conclude, expecting, finish, write,
};
pub use error::Error;
pub use import::{
    Cell, Collection, Column, ImportBody, NotImported, Outcome, Reference, Upload, import, uploads,
};
pub use prune::prune;
pub use read::{Published, WAITS_FOR, read, shown};
pub use refusals::{NotDeleted, NotFound, NotPut, NotRead};
pub use request::{Request, id, written};

/// The tables of schema `records`, in order: name and SQL.
pub const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__records", include_str!("../migrations/V1__records.sql")),
    ("V2__imports", include_str!("../migrations/V2__imports.sql")),
];
