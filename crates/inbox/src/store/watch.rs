//! Statements beside the books: deliveries, dirty keys, and what `/sync/status` shows.

use contracts::{Digest, Stream, Topic};
use deadpool_postgres::{Client, ClientWrapper};
use futures::FutureExt as _;
use futures::future::OptionFuture;
use futures::try_join;
use serde::Serialize;
use tokio_postgres::Statement;

use super::{Copy, MARK_DIRTY, insert_marks, pn, position, prepare_for, stream};
use crate::journal::Via;
use crate::{Dirty, Error, Transaction};

const COUNT_DELIVERIES: &str = include_str!("../../queries/count_deliveries.sql");
const KEEP_UNREADABLE: &str = include_str!("../../queries/keep_unreadable.sql");
const TRIM_UNREADABLE: &str = include_str!("../../queries/trim_unreadable.sql");
const HOLD_SINK: &str = include_str!("../../queries/hold_sink.sql");
const READ_DIRTY: &str = include_str!("../../queries/read_dirty.sql");
const CLEAN_DIRTY: &str = include_str!("../../queries/clean_dirty.sql");
const NOTE_CLEANED: &str = include_str!("../../queries/note_cleaned.sql");
const ASK_REBUILD: &str = include_str!("../../queries/ask_rebuild.sql");
const READ_TOPICS: &str = include_str!("../../queries/read_topics.sql");
const READ_LEDGERS: &str = include_str!("../../queries/read_ledgers.sql");
const COUNT_DIRTY: &str = include_str!("../../queries/count_dirty.sql");

/// How many unreadable deliveries of one stream are kept.
const UNREADABLE_MAX: i64 = 100;
/// How many bytes of each.
const UNREADABLE_BYTES_MAX: usize = 256 * 1024;

/// Deliveries that are no changes, counted since the last flush.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deliveries {
    pub(crate) duplicates: i64,
    pub(crate) left_to_reader: i64,
    pub(crate) unreadable: i64,
}

/// Adds to the counts of a stream; answers whether its position was there and free.
pub(crate) async fn count_deliveries(
    client: &Client,
    stream: &Stream,
    counted: Deliveries,
) -> Result<bool, Error> {
    let Deliveries { duplicates, left_to_reader, unreadable } = counted;
    let statement = client.prepare_cached(COUNT_DELIVERIES).await?;
    let counted = client
        .execute(&statement, &[&stream.as_str(), &duplicates, &left_to_reader, &unreadable])
        .await?;
    Ok(counted == 1)
}

/// Keeps bytes that are no envelope, once per content, the newest of each stream.
pub(crate) async fn keep_unreadable(
    client: &Client,
    stream: &Stream,
    via: Via,
    body: &[u8],
    reason: &str,
) -> Result<(), Error> {
    let digest = Digest::of(body);
    let kept = body.get(..UNREADABLE_BYTES_MAX).unwrap_or(body);
    let bytes = i64::try_from(body.len()).unwrap_or(i64::MAX);
    let (stream, via, digest) = (stream.as_str(), via.as_str(), &digest.as_bytes()[..]);
    let keep = client.prepare_cached(KEEP_UNREADABLE).await?;
    client.execute(&keep, &[&stream, &via, &digest, &kept, &bytes, &reason.as_bytes()]).await?;
    let trim = client.prepare_cached(TRIM_UNREADABLE).await?;
    client.execute(&trim, &[&stream, &UNREADABLE_MAX]).await?;
    Ok(())
}

/// A dirty key as a worker remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) key: String,
    pub(crate) stream: String,
    pub(crate) generation: i64,
    pub(crate) high: i64,
}

/// Takes the right to clean a sink for this session, unless another one has it.
pub(crate) async fn hold_sink(session: &ClientWrapper, sink: &str) -> Result<bool, Error> {
    let statement = session.prepare_cached(HOLD_SINK).await?;
    Ok(session.query_one(&statement, &[&sink]).await?.try_get("is_held")?)
}

/// The dirty keys of a sink that wait longest.
pub(crate) async fn read_dirty(
    client: &Client,
    sink: &str,
    limit: i64,
) -> Result<Vec<Remembered>, Error> {
    let statement = client.prepare_cached(READ_DIRTY).await?;
    let rows = client.query(&statement, &[&sink, &limit]).await?;
    let remembered = rows.iter().map(|row| {
        Ok(Remembered {
            key: row.try_get("key")?,
            stream: row.try_get("stream")?,
            generation: row.try_get("gen")?,
            high: row.try_get("high")?,
        })
    });
    remembered.collect()
}

/// When it is noted up to which number each stream is clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notes {
    /// With what is forgotten.
    Now,
    /// After a later batch.
    Later,
}

/// Forgets what was brought up to date and not marked again meanwhile, marks what is dirty in its
/// place, and notes what is clean then: a transaction of one round trip.
pub(crate) async fn forget(
    tx: &Transaction<'_>,
    sink: &str,
    worked: &[Remembered],
    (in_place, notes): (&[Dirty], Notes),
) -> Result<(), Error> {
    let (clean, mark, note) = try_join!(
        async { Ok(tx.prepare_cached(CLEAN_DIRTY).await?) },
        prepare_for(tx, MARK_DIRTY, in_place),
        async { Ok::<_, Error>(tx.prepare_cached(NOTE_CLEANED).await?) },
    )?;
    // From here on nothing is awaited before it is sent: the commit comes right after.
    let mark = mark.as_ref().map(|statement| insert_marks(tx, statement, in_place));
    let mark = OptionFuture::from(mark).map(Option::transpose);
    let note = async {
        match notes {
            Notes::Now => tx.execute(&note, &[&sink]).await,
            Notes::Later => Ok(0),
        }
    };
    let all = async { try_join!(forget_worked(tx, &clean, sink, worked), mark, note) };
    tx.at_once(all).await?;
    Ok(())
}

async fn forget_worked(
    tx: &Transaction<'_>,
    statement: &Statement,
    sink: &str,
    worked: &[Remembered],
) -> Result<(), tokio_postgres::Error> {
    let keys: Vec<_> = worked.iter().map(|row| row.key.as_str()).collect();
    let streams: Vec<_> = worked.iter().map(|row| row.stream.as_str()).collect();
    let generations: Vec<_> = worked.iter().map(|row| row.generation).collect();
    let highs: Vec<_> = worked.iter().map(|row| row.high).collect();
    tx.execute(statement, &[&sink, &keys, &streams, &generations, &highs]).await?;
    Ok(())
}

/// Asks for a rebuild; answers whether this database knows the topic.
pub(crate) async fn ask_rebuild(
    client: &Client,
    topic: &Topic,
    asked: &str,
) -> Result<bool, Error> {
    let statement = client.prepare_cached(ASK_REBUILD).await?;
    Ok(client.execute(&statement, &[&topic.as_str(), &asked]).await? == 1)
}

/// Every copy, with the number of its open cases.
pub(crate) async fn read_topics(client: &Client) -> Result<Vec<(String, Copy, i64)>, Error> {
    let statement = client.prepare_cached(READ_TOPICS).await?;
    let rows = client.query(&statement, &[]).await?;
    let topics = rows
        .iter()
        .map(|row| Ok((row.try_get("topic")?, Copy::read(row)?, row.try_get("open_cases")?)));
    topics.collect()
}

/// The books of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Ledger {
    #[serde(skip)]
    pub(crate) topic: String,
    #[serde(skip)]
    pub(crate) stream: Stream,
    #[serde(skip)]
    pub(crate) position: protocol::reader::Position,
    pub(crate) start: contracts::Pn,
    pub(crate) applied: i64,
    pub(crate) stale: i64,
    pub(crate) filtered: i64,
    pub(crate) superseded: i64,
    pub(crate) discarded: i64,
    pub(crate) lost: i64,
    pub(crate) open_cases: i64,
    /// Numbers without an outcome, or with two; 0 at every instant.
    pub(crate) imbalance: i64,
    #[serde(skip)]
    pub(crate) contradictions: i64,
    #[serde(skip)]
    pub(crate) deliveries: Deliveries,
}

/// The books of every stream.
pub(crate) async fn read_ledgers(client: &Client) -> Result<Vec<Ledger>, Error> {
    let statement = client.prepare_cached(READ_LEDGERS).await?;
    client.query(&statement, &[]).await?.iter().map(ledger).collect()
}

fn ledger(row: &tokio_postgres::Row) -> Result<Ledger, Error> {
    let (position, start) = (position(row)?, pn(row, "start")?);
    let outcomes =
        ["applied", "stale", "filtered", "superseded", "discarded", "lost", "open_cases"];
    let mut counts = [0_i64; 7];
    for (count, column) in counts.iter_mut().zip(outcomes) {
        *count = row.try_get(column)?;
    }
    let [applied, stale, filtered, superseded, discarded, lost, open_cases] = counts;
    Ok(Ledger {
        topic: row.try_get("topic")?,
        stream: stream(row)?,
        position,
        start,
        applied,
        stale,
        filtered,
        superseded,
        discarded,
        lost,
        open_cases,
        imbalance: position.pn.get() - start.get() - counts.iter().sum::<i64>(),
        contradictions: row.try_get("contradictions")?,
        deliveries: Deliveries {
            duplicates: row.try_get("duplicates")?,
            left_to_reader: row.try_get("left_to_reader")?,
            unreadable: row.try_get("unreadable")?,
        },
    })
}

/// How much of a sink is out of date.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DirtyKeys {
    pub(crate) sink: String,
    pub(crate) keys: i64,
    pub(crate) oldest_seconds: f64,
}

/// What index and caches have yet to notice.
pub(crate) async fn count_dirty(client: &Client) -> Result<Vec<DirtyKeys>, Error> {
    let statement = client.prepare_cached(COUNT_DIRTY).await?;
    let rows = client.query(&statement, &[]).await?;
    let counts = rows.iter().map(|row| {
        Ok(DirtyKeys {
            sink: row.try_get("sink")?,
            keys: row.try_get("keys")?,
            oldest_seconds: row.try_get("oldest_seconds")?,
        })
    });
    counts.collect()
}
