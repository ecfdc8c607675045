//! What follows a position: segments re-read, cut into envelopes that connect.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio_postgres::Row;
use uuid::Uuid;

use contracts::calls::{FeedResponse, PositionState};
use contracts::{Change, Header, Key, Operation, Pn, Source, Stream, Term, TraceContext, Version};
use protocol::relay::{self, Held, Limits, cut};

use super::RelayError;
use super::shared::Shared;
use super::store::{Room, Store, StoredStream, column, parsed};

/// Most bytes of an answer, unless it is a single change: a sidecar carries 4 MiB.
pub(super) const ANSWER_BYTES_MAX: i64 = 1 << 20;

/// Most changes that one answer holds.
pub(super) const CHANGES_MAX: i64 = 5_000;

/// Segments looked up at a time; many small ones come from a quiet source.
const SEGMENTS_MAX: i64 = 64;

/// Consecutive changes, read again as they were sealed.
#[derive(Debug)]
pub(super) struct Run {
    first: Pn,
    changes: Vec<Numbered>,
    /// The term of the number before the first.
    previous: Term,
}

#[derive(Debug)]
struct Numbered {
    term: Term,
    change: Change,
    bytes: usize,
}

/// One envelope, ready to be sent.
#[derive(Debug)]
pub(super) struct Message {
    /// Its last number.
    pub(super) last: Pn,
    /// The finished event.
    pub(super) bytes: Bytes,
}

/// Answers a consumer that stands at this position.
pub(super) async fn feed(
    shared: &Arc<Shared>,
    stream: &Stream,
    (after, term): (Pn, Term),
    changes_max: i64,
) -> Result<FeedResponse, RelayError> {
    if shared.readings.borrow().is_none() {
        return Err(RelayError::NotLeading);
    }
    let (stored, root) = shared.store.stream(stream, after).await?;
    let held = stored.as_ref().map(held);
    match relay::relate(after, term, root, held) {
        PositionState::Ok => {}
        PositionState::Diverged => {
            return Err(RelayError::Diverged { stream: stream.clone(), pn: after });
        }
        PositionState::BehindFloor => {
            let floor = stored.map(|stored| stored.floor).unwrap_or_default();
            return Err(RelayError::BelowFloor { stream: stream.clone(), floor });
        }
    }
    let Some(stored) = stored else {
        return Ok(FeedResponse { envelopes: Vec::new(), head: Pn::ZERO });
    };
    let room = Room { rows_max: changes_max.clamp(1, CHANGES_MAX), bytes_max: ANSWER_BYTES_MAX };
    let run = read(&shared.store, (stream, &stored), (after, term), room).await?;
    let envelopes = run
        .messages(&shared.source, stream, stored.head)
        .into_iter()
        .map(|message| embed(message.bytes.to_vec()))
        .collect::<Result<_, _>>()?;
    Ok(FeedResponse { envelopes, head: stored.head })
}

/// What the pure rule needs to know of a stream.
pub(super) const fn held(stored: &StoredStream) -> Held {
    Held {
        head: stored.head,
        floor: stored.floor,
        floor_term: stored.floor_term,
        term: stored.term,
    }
}

/// Reads the changes that follow a number, as many as there is room for.
pub(super) async fn read(
    store: &Store,
    (stream, stored): (&Stream, &StoredStream),
    (after, term): (Pn, Term),
    room: Room,
) -> Result<Run, RelayError> {
    let mut run = Run { first: after.plus(1), changes: Vec::new(), previous: term };
    let mut left = room;
    for segment in store.segments(stream, after, SEGMENTS_MAX).await? {
        let next = run.next();
        if segment.first > next {
            break;
        }
        if run.changes.is_empty() {
            let inside = segment.first < next;
            run.previous = if inside { segment.term } else { segment.previous };
        }
        let skip = next.get() - segment.first.get();
        let rows = store.changes(stored, &segment, skip, left).await?;
        let found = rows.first().map_or(Ok(0), |row| column(row, "found"))?;
        if found != segment.last.get() - segment.first.get() + 1 {
            let expected = segment.last.get() - segment.first.get() + 1;
            let (name, first) = (stream.clone(), segment.first);
            let damage = RelayError::Damaged { stream: name, first, found, expected };
            return Err(damaged(store, (stream, after), damage).await);
        }
        for row in &rows {
            let numbered = numbered(row, segment.term)?;
            let bytes = i64::try_from(numbered.bytes).unwrap_or(i64::MAX);
            // The statement answers one row of each segment, whatever its size.
            if !run.changes.is_empty() && bytes > left.bytes_max {
                return Ok(run);
            }
            left.rows_max -= 1;
            left.bytes_max -= bytes;
            run.changes.push(numbered);
        }
        if run.next() <= segment.last || left.rows_max <= 0 || left.bytes_max <= 0 {
            break;
        }
    }
    if run.changes.is_empty() && after < stored.head {
        let gap = RelayError::Gap { stream: stream.clone(), pn: run.first };
        return Err(damaged(store, (stream, after), gap).await);
    }
    Ok(run)
}

/// What follows is not whole: either retention took it meanwhile, or somebody deleted it by hand.
/// A missing row shifts the numbers behind it, so nothing of its segment is numbered.
async fn damaged(store: &Store, (stream, after): (&Stream, Pn), damage: RelayError) -> RelayError {
    match store.stream(stream, after).await {
        Err(error) => error,
        Ok((Some(stored), _)) if after < stored.floor => {
            RelayError::BelowFloor { stream: stream.clone(), floor: stored.floor }
        }
        Ok(_) => {
            tracing::error!(stream = %stream, error = %damage, "{damage}");
            damage
        }
    }
}

impl Run {
    fn next(&self) -> Pn {
        self.first.plus(i64::try_from(self.changes.len()).unwrap_or(i64::MAX))
    }

    /// Cuts the changes into envelopes.
    pub(super) fn messages(self, source: &Source, stream: &Stream, head: Pn) -> Vec<Message> {
        let rows: Vec<_> = self
            .changes
            .iter()
            .map(|numbered| relay::Row { term: numbered.term, bytes: numbered.bytes })
            .collect();
        let cuts = cut(&rows, Limits::ENVELOPE);
        let mut changes = self.changes.into_iter();
        let (mut first, mut previous) = (self.first, self.previous);
        let mut messages = Vec::with_capacity(cuts.len());
        for range in cuts {
            let part: Vec<Numbered> = changes.by_ref().take(range.len()).collect();
            let Some(term) = part.first().map(|numbered| numbered.term) else { continue };
            let part: Vec<Change> = part.into_iter().map(|numbered| numbered.change).collect();
            let last = first.plus(i64::try_from(part.len()).unwrap_or(i64::MAX) - 1);
            let header = Header {
                source: source.clone(),
                stream: stream.clone(),
                first,
                last,
                term,
                previous,
                head: head.max(last),
                time: Utc::now(),
                trace: part.iter().find_map(|change| change.trace.clone()),
            };
            messages.push(Message { last, bytes: header.encode(&part) });
            (first, previous) = (last.plus(1), term);
        }
        messages
    }
}

/// Room that one change takes beside key and payload.
const FRAME_BYTES: usize = 320;

fn numbered(row: &Row, term: Term) -> Result<Numbered, RelayError> {
    let payload: Option<Vec<u8>> = column(row, "payload")?;
    let key = parsed(row, "key", Key::parse)?;
    let bytes = payload.as_ref().map_or(0, Vec::len) + key.as_str().len() + FRAME_BYTES;
    let op = match column(row, "op")? {
        "upsert" => Operation::Upsert,
        "delete" => Operation::Delete,
        other => return Err(RelayError::Row(format!("operation {other:?}"))),
    };
    let trace: Option<&str> = column(row, "trace")?;
    let change = Change {
        key,
        version: version(row)?,
        op,
        event: column::<Uuid>(row, "event")?,
        at: column::<DateTime<Utc>>(row, "occurred_at")?,
        // A trace is a help; one that is ill-formed must not hold up its change.
        trace: trace.and_then(|text| TraceContext::parse(text).ok()),
        tenant: column(row, "tenant")?,
        schema: column(row, "schema")?,
        payload: payload.map(embed).transpose()?,
    };
    Ok(Numbered { term, change, bytes })
}

/// The version in a row.
pub(super) fn version(row: &Row) -> Result<Version, RelayError> {
    Version::try_from(column::<i64>(row, "version")?)
        .map_err(|error| RelayError::Row(error.to_string()))
}

/// Bytes that are JSON, to be embedded as they are.
pub(super) fn embed(bytes: Vec<u8>) -> Result<Box<RawValue>, RelayError> {
    let text = String::from_utf8(bytes).map_err(|error| RelayError::Row(error.to_string()))?;
    RawValue::from_string(text).map_err(|error| RelayError::Row(error.to_string()))
}
