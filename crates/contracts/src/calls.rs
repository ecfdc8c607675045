//! The bodies of the three calls that a relay serves: sync, feed and snapshot.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{Key, Pn, Stream, Term, Topic, Version};

/// `POST /sources/{source}/sync`: where the consumer stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// The consumer's name: one copy, whatever its number of replicas.
    pub consumer: String,
    /// Kept in the consumer's database, so that two databases never share a name.
    pub identity: Uuid,
    /// What it follows; all of one source.
    pub topics: Vec<Topic>,
    /// Its positions; `None` on the first call ever, which holds retention at the heads answered.
    pub positions: Option<Vec<Position>>,
}

/// A place in a stream: what lies up to it has been applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The stream.
    pub stream: Stream,
    /// The last number.
    pub pn: Pn,
    /// The term of that number.
    pub term: Term,
}

/// Every stream that exists for the topics asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncResponse {
    /// In name order; also streams that the consumer never heard of.
    pub streams: Vec<StreamState>,
    /// The term of the source's creation or renewal.
    pub root: Term,
    /// The term of the relay that answers: with another one the source may have another past, even
    /// where no number tells yet. An older relay does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Term>,
}

/// One stream at its source, and how the consumer's position relates to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// The stream.
    pub stream: Stream,
    /// The topic whose changes it carries.
    pub topic: Topic,
    /// The newest number.
    pub head: Pn,
    /// The term of the newest number.
    pub term: Term,
    /// The feed holds the numbers above this one.
    pub floor: Pn,
    /// How the position sent relates to the stream.
    pub state: PositionState,
}

/// How a consumer's position relates to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PositionState {
    /// The source holds that term at that number; the feed goes on from there.
    Ok,
    /// The numbers that follow are no longer held: rebuild.
    BehindFloor,
    /// Copy and source have different pasts: stop, and rebuild on command.
    Diverged,
}

/// `GET /streams/{stream}?after={pn}&term={term}&limit={changes}`: what follows a position.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FeedResponse<E = Box<RawValue>> {
    /// Envelopes that connect to the position asked with and to each other.
    pub envelopes: Vec<E>,
    /// The newest number of the stream.
    pub head: Pn,
}

/// `GET /snapshot/{topic}?after={key}&limit={rows}`: a page of the compacted stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotResponse {
    /// In key order (bytes), deleted entities included.
    pub rows: Vec<SnapshotRow>,
    /// The key to ask the next page with; `None` after the last.
    pub next: Option<Key>,
    /// Apply the rows only at or above these positions, with these terms.
    pub heads: Vec<Position>,
    /// The term of the source's creation or renewal.
    pub root: Term,
}

/// The latest state of one entity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotRow {
    /// The entity.
    pub key: Key,
    /// Its version.
    pub version: Version,
    /// Whether it is deleted; then there is no payload.
    pub deleted: bool,
    /// The payload as published, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
}

#[cfg(test)]
mod tests;
