//! Where the latest change of one entity is: what the source knows of its way to the broker.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use contracts::{Key, Pn, Stream, Term, Topic, Version};

use super::RelayError;
use super::feed::version;
use super::shared::Shared;
use super::store::{column, parsed, pn};

/// The latest change of an entity, hop by hop; what is not known is null.
///
/// Without `appended_at` retention took the change, and without `pn` it is not numbered yet.
/// `published_at` and `confirmed_at` lie in the memory of the relay that published: they are null
/// after its restart, behind a few thousand newer envelopes, and where there is no broker.
#[derive(Debug, Serialize)]
pub(super) struct Trail {
    topic: Topic,
    key: Key,
    version: Version,
    deleted: bool,
    transport: String,
    event: Option<Uuid>,
    op: Option<String>,
    trace: Option<String>,
    stream: Option<Stream>,
    pn: Option<Pn>,
    term: Option<Term>,
    appended_at: Option<DateTime<Utc>>,
    sealed_at: Option<DateTime<Utc>>,
    published_at: Option<DateTime<Utc>>,
    confirmed_at: Option<DateTime<Utc>>,
}

/// Looks the latest change of an entity up.
pub(super) async fn trail(
    shared: &Arc<Shared>,
    topic: Topic,
    key: Key,
) -> Result<Trail, RelayError> {
    let row = shared.store.trail(&topic, &key).await?;
    if !column::<bool>(&row, "known")? {
        return Err(RelayError::UnknownTopic(topic));
    }
    if column::<Option<i64>>(&row, "version")?.is_none() {
        return Err(RelayError::UnknownKey { topic, key });
    }
    let number = number(&row)?;
    let sent =
        number.as_ref().and_then(|(stream, pn, term)| shared.recent().of(stream, *pn, *term));
    let (stream, pn, term) = match number {
        Some((stream, pn, term)) => (Some(stream), Some(pn), Some(term)),
        None => (None, None, None),
    };
    Ok(Trail {
        topic,
        key,
        version: version(&row)?,
        deleted: column(&row, "deleted")?,
        transport: shared.bus.transport().to_string(),
        event: column(&row, "event")?,
        op: column(&row, "op")?,
        trace: column(&row, "trace")?,
        stream,
        pn,
        term,
        appended_at: column(&row, "occurred_at")?,
        sealed_at: column(&row, "sealed_at")?,
        published_at: sent.map(|sent| sent.published_at),
        confirmed_at: sent.and_then(|sent| sent.confirmed_at),
    })
}

/// Its number, once it has one. A segment whose rows are gone numbers nothing: a missing row would
/// shift the numbers behind it.
fn number(row: &Row) -> Result<Option<(Stream, Pn, Term)>, RelayError> {
    if column::<Option<&str>>(row, "stream")?.is_none() {
        return Ok(None);
    }
    let stream = parsed(row, "stream", Stream::parse)?;
    let (first, last) = (pn(row, "first")?, pn(row, "last")?);
    let found: i64 = column(row, "found")?;
    let expected = last.get() - first.get() + 1;
    if found != expected {
        return Err(RelayError::Damaged { stream, first, found, expected });
    }
    Ok(Some((stream, pn(row, "pn")?, Term::new(column(row, "term")?))))
}
