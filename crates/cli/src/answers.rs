//! What relay and consumers answer, as far as it is used here.

use chrono::{DateTime, Utc};
use contracts::{Pn, Term, Version};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The relay's answer to `GET /where/{topic}?key=`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct SourceTrail {
    pub(crate) version: Version,
    pub(crate) deleted: bool,
    pub(crate) transport: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) op: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) stream: Option<String>,
    pub(crate) pn: Option<Pn>,
    pub(crate) term: Option<Term>,
    pub(crate) appended_at: Option<DateTime<Utc>>,
    pub(crate) sealed_at: Option<DateTime<Utc>>,
    pub(crate) published_at: Option<DateTime<Utc>>,
    pub(crate) confirmed_at: Option<DateTime<Utc>>,
}

/// A consumer's answer to `GET /sync/where/{topic}?key=`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct CopyTrail {
    pub(crate) phase: String,
    pub(crate) held: Option<Held>,
    pub(crate) position: Option<Pn>,
    pub(crate) via: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) received_at: Option<DateTime<Utc>>,
    pub(crate) applied_at: Option<DateTime<Utc>>,
    pub(crate) steps: Option<Steps>,
    pub(crate) case: Option<Case>,
    pub(crate) sinks: Vec<SinkTrail>,
}

/// What a copy holds of a key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Held {
    pub(crate) history: String,
    pub(crate) version: Version,
    pub(crate) deleted: bool,
}

/// What the steps of a batch took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Steps {
    pub(crate) lock_us: i64,
    pub(crate) gate_us: i64,
    pub(crate) apply_us: i64,
}

/// A record set aside.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) reason: String,
}

/// A sink of a consumer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SinkTrail {
    pub(crate) sink: String,
    pub(crate) clean_at: Option<DateTime<Utc>>,
    pub(crate) dirty: Option<bool>,
}

/// A consumer's answer to `GET /sync/status`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct CopyStatus {
    #[serde(deserialize_with = "copies")]
    pub(crate) topics: Vec<TopicStatus>,
    #[serde(default)]
    pub(crate) dirty: Vec<DirtyKeys>,
}

/// The topics of which there is a copy; an owner lists its own, without a phase.
fn copies<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<TopicStatus>, D::Error> {
    let topics = Vec::<Value>::deserialize(from)?;
    let copies = topics.into_iter().filter(|topic| topic.get("phase").is_some());
    copies.map(|topic| serde_json::from_value(topic).map_err(D::Error::custom)).collect()
}

/// One copy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct TopicStatus {
    pub(crate) topic: String,
    pub(crate) phase: String,
    pub(crate) open_cases: i64,
    pub(crate) complaint: Option<String>,
    pub(crate) error: Option<String>,
    /// Since the source last told it the heads.
    pub(crate) answered_seconds_ago: Option<f64>,
    pub(crate) streams: Vec<StreamStatus>,
}

/// One stream of a copy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct StreamStatus {
    pub(crate) stream: String,
    pub(crate) position: Pn,
    pub(crate) head: Option<Pn>,
    pub(crate) lag_events: i64,
    pub(crate) lag_seconds: f64,
}

/// What a sink has yet to notice.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(crate) struct DirtyKeys {
    pub(crate) sink: String,
    pub(crate) keys: i64,
    pub(crate) oldest_seconds: f64,
}

/// The relay's answer to `GET /sync/status`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct RelayStatus {
    pub(crate) sources: Vec<SourceStatus>,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct SourceStatus {
    pub(crate) source: String,
    pub(crate) state: String,
    pub(crate) error: Option<String>,
    pub(crate) unpublished: i64,
    pub(crate) consumers: Vec<Follower>,
}

/// Who follows a source, as it said it last.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Follower {
    pub(crate) consumer: String,
    pub(crate) positions: Vec<Confirmed>,
}

/// Up to where a consumer confirmed a stream.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Confirmed {
    pub(crate) stream: String,
    pub(crate) pn: Pn,
}
