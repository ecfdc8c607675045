//! The peer: a plain Dapr app as a competent team writes it, which copies products the usual way.
//!
//! Its producer saves a product durably and then publishes one event of it through its sidecar.
//! Its consumer is sent one message per HTTP request, takes it into its copy in one durable
//! transaction unless the copy is newer, deletes the cache entry, and answers 200. The broker's
//! component has Dapr's defaults; a retry policy keeps what could not be taken at once.
//!
//! It is the fast variant, and fair to the peer: one round trip per transaction, both ends. It
//! promises less than Syncline: there is no outbox, so a change whose producer dies between commit
//! and publish is lost, and so is one that the broker lost or that failed until its retries ended.

mod consumer;
mod producer;
mod setup;
mod tally;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use consumer::{ConsumerSettings, consumer};
pub use producer::Producer;
pub use setup::Setup;
pub use tally::Counts;

/// The producer's app-id.
pub const PRODUCER: &str = "plain-producer";
/// The consumer's app-id.
pub const CONSUMER: &str = "plain-consumer";

/// The component, as its file names it.
const PUBSUB: &str = "plain-pubsub";
/// What both speak of, as the subscription's file names it.
const TOPIC: &str = "plain.products";

/// What one event says.
#[derive(Debug, Serialize, Deserialize)]
struct Change<'a> {
    /// The benchmark's number of it.
    seq: u64,
    #[serde(borrow)]
    sku: Cow<'a, str>,
    version: i64,
    /// The product as it travels; none if it was deleted.
    #[serde(borrow)]
    product: Option<&'a RawValue>,
}

/// The cache's name of a product.
pub fn cache_key(sku: &str) -> String {
    format!("plain:product:{sku}")
}
