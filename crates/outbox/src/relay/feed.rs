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
use super::store::{Room, Store, StoredStream, column, parsed, pn};

/// Most bytes of an answer, unless it is a single change: a sidecar carries 4 MiB.
pub(super) const ANSWER_BYTES_MAX: i64 = 1 << 20;

/// Most changes that one answer holds.
pub(super) const CHANGES_MAX: i64 = 5_000;

/// Consecutive changes, read again as they were sealed.
#[derive(Debug)]
pub(super) struct Run {
    first: Pn,
    changes: Vec<Numbered>,
}

#[derive(Debug)]
struct Numbered {
    term: Term,
    /// The term of the number before it.
    previous: Term,
    change: Change,
    bytes: usize,
}

/// One envelope, ready to be sent.
#[derive(Debug)]
pub(super) struct Message {
    /// Its first number.
    pub(super) first: Pn,
    /// Its last number.
    pub(super) last: Pn,
    /// The term of all of them.
    pub(super) term: Term,
    /// The traces of its changes, as far as a span takes them.
    pub(super) traces: Vec<TraceContext>,
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
    let run = read(&shared.store, stream, (after, stored.head), room).await?;
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

/// Reads the changes that follow a number, as many as there is room for; some if there are any up
/// to the head. They end before the first that is not whole.
pub(super) async fn read(
    store: &Store,
    stream: &Stream,
    (after, head): (Pn, Pn),
    room: Room,
) -> Result<Run, RelayError> {
    let rows = store.changes(stream, after, room).await?;
    let mut run = Run { first: after.plus(1), changes: Vec::with_capacity(rows.len()) };
    let mut damage = RelayError::Gap { stream: stream.clone(), pn: run.first };
    for row in &rows {
        let (first, last) = (pn(row, "first")?, pn(row, "last")?);
        if first > run.next() {
            break;
        }
        let found = column::<Option<i64>>(row, "found")?.unwrap_or_default();
        let expected = last.get() - first.get() + 1;
        if found != expected {
            damage = RelayError::Damaged { stream: stream.clone(), first, found, expected };
            break;
        }
        run.changes.push(numbered(row)?);
    }
    if run.changes.is_empty() && after < head {
        return Err(damaged(store, (stream, after), damage).await);
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

/// What a tick sealed, where it answered its changes.
pub(super) fn sealed(rows: &[Row]) -> Result<Vec<(Stream, Run)>, RelayError> {
    let mut runs: Vec<(Stream, Run)> = Vec::new();
    for row in rows {
        let Some(stream) = column::<Option<&str>>(row, "stream")? else { continue };
        let change = numbered(row)?;
        match runs.last_mut() {
            Some((last, run)) if last.as_str() == stream => run.changes.push(change),
            _ => {
                let stream = parsed(row, "stream", Stream::parse)?;
                runs.push((stream, Run { first: pn(row, "pn")?, changes: vec![change] }));
            }
        }
    }
    Ok(runs)
}

#[cfg(test)]
impl Run {
    /// So many changes from this number on.
    pub(super) fn of(first: Pn, count: usize) -> Self {
        let term = Term::new(Uuid::nil());
        let change = Change {
            key: Key::parse("a").expect("a key"),
            version: Version::ZERO,
            op: Operation::Delete,
            event: Uuid::nil(),
            at: Utc::now(),
            trace: None,
            tenant: None,
            schema: "1".to_owned(),
            payload: None,
        };
        let numbered = || Numbered { term, previous: term, change: change.clone(), bytes: 321 };
        Self { first, changes: std::iter::repeat_with(numbered).take(count).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }
}

impl Run {
    /// Its first number.
    pub(super) const fn first(&self) -> Pn {
        self.first
    }

    /// Goes on with another one, if that is what follows and both are within this room.
    pub(super) fn join(&mut self, other: Self, room: Room) -> bool {
        let all = || self.changes.iter().chain(&other.changes);
        let bytes: usize = all().map(|numbered| numbered.bytes).sum();
        let fits = |size: usize, max: i64| i64::try_from(size).is_ok_and(|size| size <= max);
        let joins = other.first == self.next()
            && fits(all().count(), room.rows_max)
            && fits(bytes, room.bytes_max);
        if joins {
            self.changes.extend(other.changes);
        }
        joins
    }

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
        let mut first = self.first;
        let mut messages = Vec::with_capacity(cuts.len());
        for range in cuts {
            let part: Vec<Numbered> = changes.by_ref().take(range.len()).collect();
            let Some(Numbered { term, previous, .. }) = part.first() else { continue };
            let (term, previous) = (*term, *previous);
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
                trace: leading(&part).cloned(),
            };
            let all = part.iter().map(|change| change.trace.as_ref());
            let traces = bus::trace::of_batch(header.trace.as_ref(), all);
            messages.push(Message { first, last, term, traces, bytes: header.encode(&part) });
            first = last.plus(1);
        }
        messages
    }
}

/// The trace with which an envelope goes on: the first that somebody records, or just the first.
fn leading(part: &[Change]) -> Option<&TraceContext> {
    let traces = || part.iter().filter_map(|change| change.trace.as_ref());
    traces().find(|trace| trace.is_sampled()).or_else(|| traces().next())
}

/// Room that one change takes beside key and payload.
const FRAME_BYTES: usize = 320;

fn numbered(row: &Row) -> Result<Numbered, RelayError> {
    let term = Term::new(column(row, "term")?);
    let opens = pn(row, "pn")? == pn(row, "first")?;
    let previous = if opens { Term::new(column(row, "previous_term")?) } else { term };
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
    Ok(Numbered { term, previous, change, bytes })
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
