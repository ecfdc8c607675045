//! The tables of schema `inbox` to types and back; the only file here that runs SQL, with its
//! neighbours for whole copies, for everything beside the books, and for the way of a change.

pub(crate) mod copy;
pub(crate) mod fresh;
pub(crate) mod trail;
pub(crate) mod watch;

use std::collections::BTreeMap;

use contracts::{Digest, Key, Operation, Pn, Stream, Term, Topic, Version};
use deadpool_postgres::Transaction;
use futures::try_join;
use protocol::reader::{Phase, Position, Road, Stamp, State};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::apply::Settled;
use crate::batch::Refused;
use crate::journal::Entry;
use crate::{Dirty, Error};

pub(crate) const LIMIT_TRANSACTION: &str = include_str!("../queries/limit_transaction.sql");
const LOCK_POSITION: &str = include_str!("../queries/lock_position.sql");
pub(crate) const READ_TOPIC: &str = include_str!("../queries/read_topic.sql");
const READ_VERSIONS: &str = include_str!("../queries/read_versions.sql");
const WRITE_VERSIONS: &str = include_str!("../queries/write_versions.sql");
const OPEN_CASES: &str = include_str!("../queries/open_cases.sql");
const MARK_DIRTY: &str = include_str!("../queries/mark_dirty.sql");
const SETTLE: &str = include_str!("../queries/settle.sql");
const SAVEPOINT: &str = include_str!("../queries/savepoint.sql");
const RELEASE: &str = include_str!("../queries/release.sql");
const ROLL_BACK: &str = include_str!("../queries/roll_back.sql");
const CHECK_AT_ONCE: &str = include_str!("../queries/check_at_once.sql");

/// One copy of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) phase: Phase,
    pub(crate) history: i64,
    pub(crate) rebuild: i64,
    pub(crate) root: Option<Term>,
    /// Of the relay that answered last.
    pub(crate) term: Option<Term>,
    pub(crate) cursor: Option<String>,
    pub(crate) asked: Option<String>,
    pub(crate) complaint: Option<String>,
}

impl Copy {
    pub(crate) fn read(row: &Row) -> Result<Self, Error> {
        let phase: &str = row.try_get("phase")?;
        Ok(Self {
            phase: Phase::parse(phase).ok_or_else(|| Error::Corrupt(format!("phase {phase}")))?,
            history: row.try_get("history")?,
            rebuild: row.try_get("rebuild")?,
            root: row.try_get::<_, Option<_>>("root")?.map(Term::new),
            term: row.try_get::<_, Option<_>>("term")?.map(Term::new),
            cursor: row.try_get("cursor")?,
            asked: row.try_get("asked")?,
            complaint: row.try_get("complaint")?,
        })
    }
}

pub(crate) fn position(row: &Row) -> Result<Position, Error> {
    Ok(Position { pn: pn(row, "pn")?, term: Term::new(row.try_get("term")?) })
}

pub(crate) fn pn(row: &Row, column: &str) -> Result<Pn, Error> {
    let raw: i64 = row.try_get(column)?;
    Pn::try_from(raw).map_err(|error| Error::Corrupt(error.to_string()))
}

pub(crate) fn stream(row: &Row) -> Result<Stream, Error> {
    Stream::parse(row.try_get("stream")?).map_err(|error| Error::Corrupt(error.to_string()))
}

/// Locks the position of a stream, and reads its copy as it is under that lock.
///
/// One round trip: each statement sees what was committed before it began, so the copy is read as
/// it is once the lock is held.
pub(crate) async fn lock_position(
    tx: &Transaction<'_>,
    topic: &Topic,
    stream: &Stream,
) -> Result<Option<(Position, Copy)>, Error> {
    let (limit, lock, read) = try_join!(
        tx.prepare_cached(LIMIT_TRANSACTION),
        tx.prepare_cached(LOCK_POSITION),
        tx.prepare_cached(READ_TOPIC),
    )?;
    let stream: [&(dyn ToSql + Sync); 1] = [&stream.as_str()];
    let topic: [&(dyn ToSql + Sync); 1] = [&topic.as_str()];
    let (_, locked, copy) = try_join!(
        tx.query_one(&limit, &[]),
        tx.query_opt(&lock, &stream),
        tx.query_opt(&read, &topic),
    )?;
    match (locked, copy) {
        (Some(locked), Some(copy)) => Ok(Some((position(&locked)?, Copy::read(&copy)?))),
        (None, _) | (_, None) => Ok(None),
    }
}

/// Locks the keys in order and reads their stored states.
pub(crate) async fn read_versions(
    tx: &Transaction<'_>,
    topic: &Topic,
    keys: &[&str],
) -> Result<BTreeMap<String, State>, Error> {
    let statement = tx.prepare_cached(READ_VERSIONS).await?;
    let rows = tx.query(&statement, &[&topic.as_str(), &keys]).await?;
    rows.iter().map(|row| Ok((row.try_get("key")?, state(row)?))).collect()
}

fn state(row: &Row) -> Result<State, Error> {
    let version: i64 = row.try_get("version")?;
    let version = Version::try_from(version).map_err(|error| Error::Corrupt(error.to_string()))?;
    let digest: Option<&[u8]> = row.try_get("digest")?;
    let digest = digest.map(<[u8; 32]>::try_from).transpose();
    let digest = digest.map_err(|_| Error::Corrupt("a digest is not 32 bytes long".to_owned()))?;
    let stamp = Stamp { history: row.try_get("history")?, version };
    Ok(State { stamp, digest: digest.map(Digest::from) })
}

/// Writes the states that were applied.
pub(crate) async fn write_versions(
    tx: &Transaction<'_>,
    topic: &Topic,
    copy: &Copy,
    road: Road,
    settled: &Settled<'_>,
) -> Result<(), Error> {
    if settled.winners.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = settled.winners.iter().map(|winner| winner.key.as_str()).collect();
    let versions: Vec<_> = settled.winners.iter().map(|winner| winner.version.get()).collect();
    let digests: Vec<Option<&[u8]>> =
        settled.winners.iter().map(|w| w.digest.as_ref().map(|d| &d.as_bytes()[..])).collect();
    let road = match road {
        Road::Change => "change",
        Road::Page => "page",
    };
    let statement = tx.prepare_cached(WRITE_VERSIONS).await?;
    let (topic, history, rebuild) = (topic.as_str(), copy.history, copy.rebuild);
    let written = tx
        .execute(&statement, &[&topic, &history, &rebuild, &keys, &versions, &digests, &road])
        .await?;
    if written == keys.len() as u64 { Ok(()) } else { Err(Error::Overtaken) }
}

/// Sets records aside; `stream` is none for those of a page.
pub(crate) async fn open_cases(
    tx: &Transaction<'_>,
    topic: &Topic,
    copy: &Copy,
    stream: Option<&Stream>,
    cases: &[Refused],
) -> Result<(), Error> {
    if cases.is_empty() {
        return Ok(());
    }
    let column = |cell: fn(&Refused) -> Option<i64>| cases.iter().map(cell).collect::<Vec<_>>();
    let keys: Vec<_> = cases.iter().map(|case| case.key.as_ref().map(Key::as_str)).collect();
    let versions = column(|case| case.version.map(Version::get));
    let numbers = column(|case| case.pn.map(Pn::get));
    let kinds: Vec<_> = cases.iter().map(|case| case.kind.as_str()).collect();
    let operations: Vec<_> =
        cases.iter().map(|case| case.operation.map(Operation::as_str)).collect();
    let payloads: Vec<_> = cases.iter().map(|case| case.payload.as_deref()).collect();
    let rules: Vec<_> = cases.iter().map(|case| case.rule).collect();
    let rule_versions: Vec<_> = cases.iter().map(|case| case.rule_version.as_str()).collect();
    let reasons: Vec<_> = cases.iter().map(|case| case.reason.as_bytes()).collect();
    let attempts: Vec<_> =
        cases.iter().map(|case| i32::try_from(case.attempts).unwrap_or(i32::MAX)).collect();
    let statement = tx.prepare_cached(OPEN_CASES).await?;
    tx.execute(
        &statement,
        &[
            &topic.as_str(),
            &copy.history,
            &stream.map(Stream::as_str),
            &copy.rebuild,
            &keys,
            &versions,
            &numbers,
            &kinds,
            &operations,
            &payloads,
            &rules,
            &rule_versions,
            &reasons,
            &attempts,
        ],
    )
    .await?;
    Ok(())
}

/// Marks keys of sinks dirty.
pub(crate) async fn mark_dirty(tx: &Transaction<'_>, dirty: &[Dirty]) -> Result<(), Error> {
    if dirty.is_empty() {
        return Ok(());
    }
    let sinks: Vec<_> = dirty.iter().map(|mark| mark.sink).collect();
    let keys: Vec<_> = dirty.iter().map(|mark| mark.key.as_str()).collect();
    let places = || dirty.iter().map(|mark| mark.place.as_ref());
    let streams: Vec<_> = places().map(|at| at.map_or("", |at| at.stream.as_str())).collect();
    let numbers: Vec<_> = places().map(|at| at.map_or(0, |at| at.pn.get())).collect();
    let statement = tx.prepare_cached(MARK_DIRTY).await?;
    tx.execute(&statement, &[&sinks, &keys, &streams, &numbers]).await?;
    Ok(())
}

/// Closes overtaken cases, writes the journal and moves the position.
pub(crate) async fn settle(
    tx: &Transaction<'_>,
    copy: &Copy,
    entry: &Entry<'_>,
    settled: &Settled<'_>,
) -> Result<(), Error> {
    let keys: Vec<_> = settled.winners.iter().map(|winner| winner.key.as_str()).collect();
    let versions: Vec<_> = settled.winners.iter().map(|winner| winner.version.get()).collect();
    let numbers: Vec<_> = settled.winners.iter().map(|winner| winner.pn.map(Pn::get)).collect();
    let applied = i64::try_from(keys.len()).unwrap_or(i64::MAX);
    let mut stale: Vec<_> = settled.stale.iter().map(|pn| pn.get()).collect();
    stale.sort_unstable();
    let mut cases: Vec<_> = settled.cases.iter().filter_map(|case| case.pn.map(Pn::get)).collect();
    cases.sort_unstable();
    let statement = tx.prepare_cached(SETTLE).await?;
    let moved = tx
        .execute(
            &statement,
            &[
                &entry.stream.as_str(),
                &copy.rebuild,
                &entry.first.get(),
                &entry.last.get(),
                &entry.term.get(),
                &entry.via.as_str(),
                &applied,
                &stale,
                &cases,
                &entry.written_at,
                &entry.received_at,
                &entry.lock_us(),
                &entry.gate_us(),
                &entry.apply_us(),
                &keys,
                &versions,
                &numbers,
                &copy.history,
                &i64::from(settled.contradictions),
            ],
        )
        .await?;
    if moved == 1 { Ok(()) } else { Err(Error::Corrupt("a locked position is gone".to_owned())) }
}

/// From here on deferred constraints fail with their statement.
pub(crate) async fn check_constraints_at_once(tx: &Transaction<'_>) -> Result<(), Error> {
    Ok(tx.batch_execute(CHECK_AT_ONCE).await?)
}

/// Before one record is tried alone.
pub(crate) async fn set_savepoint(tx: &Transaction<'_>) -> Result<(), Error> {
    Ok(tx.batch_execute(SAVEPOINT).await?)
}

/// The record is in.
pub(crate) async fn release_savepoint(tx: &Transaction<'_>) -> Result<(), Error> {
    Ok(tx.batch_execute(RELEASE).await?)
}

/// The record is out.
pub(crate) async fn roll_back_to_savepoint(tx: &Transaction<'_>) -> Result<(), Error> {
    Ok(tx.batch_execute(ROLL_BACK).await?)
}
