//! A cache in Redis that never gives an old value as current.
//!
//! A value lies in one hash with the version of each part it was composed of, and with the lease
//! under which the next one may be filled in; so in an eviction, a restart or a crash all of it
//! vanishes together. A reader looks, and where nothing current lies it is given the lease. It then
//! reads the parts from their owners and fills in what it composed, which is refused if anything
//! of it was invalidated since the look: a slow reader cannot put an old value back. Leases are
//! shared, used up by the first fill, and each rule is [`protocol::cache`]'s, carried out by one
//! script.
//!
//! It promises that a hit shows every invalidation that had been carried out before the look. It
//! does not know what has yet to be carried out: whether an answer is *fresh* is decided by
//! [`protocol::fresh`], with the clean moments as they were known **before** the look, or with the
//! moment at which one began to read it oneself. Ages by the cache's own clock prove nothing. Every
//! call ends within [`Config::cache_answer_ms_max`], the first after a broken connection within
//! twice that; a reader whom the cache does not answer asks the owners alone, an invalidation that
//! failed is carried out again until it worked.
//!
//! An instance that could forget in part is refused, at the start and after every broken
//! connection: see [`Fault`].
//!
//! ```no_run
//! # async fn example(config: &cache::Config) -> Result<(), cache::Error> {
//! use cache::{Cache, Invalidation, Key, Look, Vector, Version};
//!
//! let cache = Cache::connect(config).await?;
//! let key = Key::new("9f1c", "product", "MH01");
//! if let Look::Miss { lease, old: _ } = cache.look(&key).await? {
//!     // Only now read the parts from their owners.
//!     let mut vector = Vector::new();
//!     vector.set("product", Version::parse("7").expect("a number"));
//!     cache.fill(&lease, "{}".into(), &vector, None).await?;
//! }
//! let version = Version::parse("8").ok();
//! cache.invalidate(&[Invalidation { key, part: "product".to_owned(), version }]).await?;
//! # Ok(())
//! # }
//! ```

mod config;
mod connection;
mod entry;
mod error;
mod fitness;
mod flights;
mod metrics;
mod store;

pub use protocol::cache::{Fill, Vector, Version};

pub use crate::config::Config;
pub use crate::entry::{Entry, Invalidation, Key, Lease, Look};
pub use crate::error::Error;
pub use crate::fitness::{Fault, Unfit};
pub use crate::flights::Flights;
pub use crate::store::Cache;
