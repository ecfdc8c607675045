//! The envelope: one message of consecutive changes, the same on the wire and from the feed.
//!
//! A finished CloudEvents 1.0 JSON event. A payload is embedded byte for byte as it lies in the
//! outbox, so one digest holds from end to end. Numbers travel as text.

use std::str;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{Key, Pn, Source, Stream, Term, TraceContext, Version};

/// The CloudEvents `type` of an envelope; it names the version of the shape.
pub const TYPE: &str = "syncline.changes.v1";

/// The media type of an envelope.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";

/// What an envelope says about its changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The owner of the changes.
    pub source: Source,
    /// The stream that they are numbered in.
    pub stream: Stream,
    /// The number of the first change.
    pub first: Pn,
    /// The number of the last change.
    pub last: Pn,
    /// The term of these numbers.
    pub term: Term,
    /// The term of the number before the first.
    pub previous: Term,
    /// The newest number of the stream when the envelope was made.
    pub head: Pn,
    /// When the envelope was made.
    pub time: DateTime<Utc>,
    /// The trace of the publish.
    pub trace: Option<TraceContext>,
}

/// One message of consecutive changes, as received; payloads lie in the bytes that it was read
/// from.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// What it says about its changes.
    pub header: Header,
    /// Number `i` of them is `header.first + i`; one that cannot be read spoils no other.
    pub changes: Vec<Result<Change<&'a RawValue>, UnreadableChange>>,
}

/// One state of one entity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change<P = Box<RawValue>> {
    /// The entity.
    pub key: Key,
    /// The version that this change gave it.
    pub version: Version,
    /// What happened to it.
    pub op: Operation,
    /// The id of the change (UUIDv7), the same on every road.
    pub event: Uuid,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// The trace in which it was written; one that cannot be read is none.
    #[serde(default, deserialize_with = "trace")]
    pub trace: Option<TraceContext>,
    /// Whose it is, where one installation serves several.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The version of the schema of its payload.
    pub schema: String,
    /// The entity's whole state; none for a delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<P>,
}

/// What happened to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It was created or replaced.
    Upsert,
    /// It was deleted; key and version stay known for ever.
    Delete,
}

impl Operation {
    /// The name as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

/// A change that cannot be read, inside an envelope that can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableChange {
    /// The change as it came.
    pub bytes: Bytes,
    /// Its key, where that much could be read.
    pub key: Option<Key>,
    /// Its version, where that much could be read.
    pub version: Option<Version>,
    /// Why it cannot be read.
    pub reason: String,
}

/// Bytes that are no envelope which this version understands.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON, or not of the envelope's form.
    #[error("read envelope")]
    Malformed(#[source] serde_json::Error),
    /// An event of another type or version.
    #[error("event is of type {0:?}, expected {TYPE:?}")]
    UnknownType(String),
    /// The numbers contradict each other or the count of changes.
    #[error("envelope contradicts itself: {0}")]
    Contradiction(String),
}

#[derive(Serialize, Deserialize)]
struct Event<C> {
    specversion: String,
    id: String,
    source: Source,
    #[serde(rename = "type")]
    kind: String,
    subject: Stream,
    time: String,
    datacontenttype: String,
    #[serde(default, deserialize_with = "trace", skip_serializing_if = "Option::is_none")]
    traceparent: Option<TraceContext>,
    #[serde(default, deserialize_with = "trace", skip_serializing_if = "Option::is_none")]
    traceid: Option<TraceContext>,
    data: Body<C>,
}

#[derive(Serialize, Deserialize)]
struct Body<C> {
    stream: Stream,
    first: Pn,
    last: Pn,
    term: Term,
    prev: Term,
    head: Pn,
    changes: Vec<C>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

impl Header {
    /// Whether the envelope of `next` goes on where this one ends, in the same term.
    pub fn is_followed_by(&self, next: &Self) -> bool {
        next.first == self.last.plus(1)
            && next.previous == self.term
            && next.term == self.term
            && next.stream == self.stream
            && next.source == self.source
    }

    /// The finished event with these changes, ready to be published.
    ///
    /// Number `i` of the changes is `first + i`; the caller cuts them so.
    ///
    /// # Panics
    /// Never: names, numbers and finished JSON always serialise.
    pub fn encode(&self, changes: &[Change]) -> Bytes {
        debug_assert_eq!(i64::try_from(changes.len()), Ok(self.last.get() - self.first.get() + 1));
        let Self { source, stream, first, last, term, .. } = self;
        let event = Event {
            specversion: "1.0".to_owned(),
            id: format!("{source}/{stream}/{first}-{last}/{term}"),
            source: source.clone(),
            kind: TYPE.to_owned(),
            subject: stream.clone(),
            time: self.time.to_rfc3339_opts(SecondsFormat::Micros, true),
            datacontenttype: "application/json".to_owned(),
            traceparent: self.trace.clone(),
            traceid: self.trace.clone(),
            data: Body {
                stream: stream.clone(),
                first: *first,
                last: *last,
                term: *term,
                prev: self.previous,
                head: self.head,
                changes: changes.iter().collect(),
            },
        };
        serde_json::to_vec(&event)
            .expect("names, numbers and finished JSON always serialise")
            .into()
    }
}

impl<'a> Envelope<'a> {
    /// Reads an envelope: in one pass if nothing is wrong with it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        Self::sound(bytes).map_or_else(|| Self::one_by_one(bytes), Ok)
    }

    /// Takes the changes of the envelope that follows, as if both had been made as one; the trace
    /// stays that of the first.
    pub fn append(&mut self, next: Self) {
        debug_assert!(self.header.is_followed_by(&next.header));
        let Header { last, head, time, .. } = next.header;
        self.header = Header { last, head, time, ..self.header.clone() };
        self.changes.extend(next.changes);
    }

    /// None if anything is wrong.
    fn sound(bytes: &'a [u8]) -> Option<Self> {
        let event: Event<Change<&RawValue>> = serde_json::from_slice(bytes).ok()?;
        let is_sound = event.kind == TYPE
            && check(&event).is_ok()
            && event.data.changes.iter().all(|change| change.complaint().is_none());
        if is_sound { Self::of(event, Ok).ok() } else { None }
    }

    /// Reads the changes one by one, so that one that cannot be read spoils no other.
    fn one_by_one(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let kind: Kind = serde_json::from_slice(bytes).map_err(EnvelopeError::Malformed)?;
        if kind.kind != TYPE {
            return Err(EnvelopeError::UnknownType(kind.kind.chars().take(128).collect()));
        }
        let event: Event<&RawValue> =
            serde_json::from_slice(bytes).map_err(EnvelopeError::Malformed)?;
        check(&event)?;
        Self::of(event, Change::read)
    }

    fn of<C>(
        event: Event<C>,
        read: impl Fn(C) -> Result<Change<&'a RawValue>, UnreadableChange>,
    ) -> Result<Self, EnvelopeError> {
        let time = DateTime::parse_from_rfc3339(&event.time)
            .map_err(|_| EnvelopeError::Contradiction(format!("time is {:?}", event.time)))?;
        let Body { stream, first, last, term, prev, head, changes } = event.data;
        let header = Header {
            source: event.source,
            stream,
            first,
            last,
            term,
            previous: prev,
            head,
            time: time.to_utc(),
            trace: event.traceparent,
        };
        Ok(Self { header, changes: changes.into_iter().map(read).collect() })
    }
}

impl<'a> Change<&'a RawValue> {
    fn read(raw: &'a RawValue) -> Result<Self, UnreadableChange> {
        let unreadable = |reason: String| {
            let identity: Identity<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
            UnreadableChange {
                bytes: Bytes::copy_from_slice(raw.get().as_bytes()),
                key: identity.key.and_then(|key| serde_json::from_str(key.get()).ok()),
                version: identity.version.and_then(|raw| serde_json::from_str(raw.get()).ok()),
                reason,
            }
        };
        let change: Self =
            serde_json::from_str(raw.get()).map_err(|e| unreadable(e.to_string()))?;
        match change.complaint() {
            Some(complaint) => Err(unreadable(complaint.to_owned())),
            None => Ok(change),
        }
    }

    const fn complaint(&self) -> Option<&'static str> {
        match (self.op, self.payload.is_some()) {
            (Operation::Upsert, false) => Some("an upsert has no payload"),
            (Operation::Delete, true) => Some("a delete has a payload"),
            (Operation::Upsert, true) | (Operation::Delete, false) => None,
        }
    }
}

/// A trace is a help; one that is ill-formed must not hold up what it came with.
fn trace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceContext>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// What names a change, each read by itself: a wrong version must not hide the key.
#[derive(Default, Deserialize)]
struct Identity<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    version: Option<&'a RawValue>,
}

fn check<C>(event: &Event<C>) -> Result<(), EnvelopeError> {
    let body = &event.data;
    let count = i64::try_from(body.changes.len()).unwrap_or(i64::MAX);
    let complaint = if body.first == Pn::ZERO {
        "numbers start at 1".to_owned()
    } else if body.first > body.last || body.first.plus(count - 1) != body.last || count == 0 {
        format!("{count} changes are numbered {} to {}", body.first, body.last)
    } else if body.head < body.last {
        format!("its head {} lies before its last number {}", body.head, body.last)
    } else if event.subject != body.stream {
        format!("its subject {} is not its stream {}", event.subject, body.stream)
    } else {
        return Ok(());
    };
    Err(EnvelopeError::Contradiction(complaint))
}

#[cfg(test)]
mod tests;
