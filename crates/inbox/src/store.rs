//! The tables of schema `inbox` to types and back; the only file here that runs SQL, with its
//! neighbours for whole copies, for everything beside the books, and for the way of a change.

pub(crate) mod copy;
pub(crate) mod fresh;
pub(crate) mod trail;
pub(crate) mod watch;

use std::collections::BTreeMap;

use contracts::{Digest, Key, Operation, Pn, Stream, Term, Topic, Version};
use futures::FutureExt as _;
use futures::future::OptionFuture;
use futures::try_join;
use protocol::reader::{Phase, Position, Stamp, State};
use tokio_postgres::error::DbError;
use tokio_postgres::{Row, Statement};

use crate::apply::Settled;
use crate::batch::Refused;
use crate::journal::Entry;
use crate::{Dirty, Error, Transaction};

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

/// The constraint that keeps the books balanced.
const BALANCE: &str = "position_balance";

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

/// What the first statements of a batch find.
pub(crate) struct Locked {
    /// The position and its copy, as they are under the lock; none of an unknown stream.
    pub(crate) at: Option<(Position, Copy)>,
    /// The stored states of the keys, if they were asked for.
    pub(crate) stored: Option<BTreeMap<String, State>>,
}

/// Locks the position of a stream, and reads its copy as it is under that lock; then locks and
/// reads these keys.
///
/// Sent together: each statement sees what was committed before it began.
pub(crate) async fn lock_position(
    tx: &Transaction<'_>,
    topic: &Topic,
    stream: &Stream,
    keys: Option<&[&str]>,
) -> Result<Locked, Error> {
    let (lock, read, versions) = try_join!(
        tx.prepare_cached(LOCK_POSITION),
        tx.prepare_cached(READ_TOPIC),
        tx.prepare_cached(READ_VERSIONS),
    )?;
    let (topic, stream) = (topic.as_str(), stream.as_str());
    let (locked, copy, stored) = try_join!(
        async { tx.query_opt(&lock, &[&stream]).await },
        async { tx.query_opt(&read, &[&topic]).await },
        async {
            match keys {
                Some(keys) => tx.query(&versions, &[&topic, &keys]).await.map(Some),
                None => Ok(None),
            }
        },
    )?;
    let at = match (locked, copy) {
        (Some(locked), Some(copy)) => Some((position(&locked)?, Copy::read(&copy)?)),
        (None, _) | (_, None) => None,
    };
    Ok(Locked { at, stored: stored.as_deref().map(states).transpose()? })
}

/// Locks the keys, which are sorted, and reads their stored states.
pub(crate) async fn read_versions(
    tx: &Transaction<'_>,
    topic: &Topic,
    keys: &[&str],
) -> Result<BTreeMap<String, State>, Error> {
    let statement = tx.prepare_cached(READ_VERSIONS).await?;
    states(&tx.query(&statement, &[&topic.as_str(), &keys]).await?)
}

fn states(rows: &[Row]) -> Result<BTreeMap<String, State>, Error> {
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

/// Writes the states of a page that were applied.
pub(crate) async fn write_versions(
    tx: &Transaction<'_>,
    topic: &Topic,
    copy: &Copy,
    settled: &Settled<'_>,
) -> Result<(), Error> {
    if settled.winners.is_empty() {
        return Ok(());
    }
    let Winners { keys, versions, digests, .. } = Winners::of(settled);
    let statement = tx.prepare_cached(WRITE_VERSIONS).await?;
    let (topic, history, rebuild) = (topic.as_str(), copy.history, copy.rebuild);
    let written =
        tx.execute(&statement, &[&topic, &history, &rebuild, &keys, &versions, &digests]).await?;
    if written == keys.len() as u64 { Ok(()) } else { Err(Error::Overtaken) }
}

/// Sets the records of a page aside.
pub(crate) async fn open_cases(
    tx: &Transaction<'_>,
    topic: &Topic,
    copy: &Copy,
    cases: &[Refused],
) -> Result<(), Error> {
    let Some(statement) = prepare_for(tx, OPEN_CASES, cases).await? else { return Ok(()) };
    Ok(insert_cases(tx, &statement, (topic, None, copy), cases).await?)
}

async fn insert_cases(
    tx: &Transaction<'_>,
    statement: &Statement,
    (topic, stream, copy): (&Topic, Option<&Stream>, &Copy),
    cases: &[Refused],
) -> Result<(), tokio_postgres::Error> {
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
    tx.execute(
        statement,
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
    let Some(statement) = prepare_for(tx, MARK_DIRTY, dirty).await? else { return Ok(()) };
    Ok(insert_marks(tx, &statement, dirty).await?)
}

async fn insert_marks(
    tx: &Transaction<'_>,
    statement: &Statement,
    dirty: &[Dirty],
) -> Result<(), tokio_postgres::Error> {
    let sinks: Vec<_> = dirty.iter().map(|mark| mark.sink).collect();
    let keys: Vec<_> = dirty.iter().map(|mark| mark.key.as_str()).collect();
    let places = || dirty.iter().map(|mark| mark.place.as_ref());
    let streams: Vec<_> = places().map(|at| at.map_or("", |at| at.stream.as_str())).collect();
    let numbers: Vec<_> = places().map(|at| at.map_or(0, |at| at.pn.get())).collect();
    tx.execute(statement, &[&sinks, &keys, &streams, &numbers]).await?;
    Ok(())
}

/// A statement that is only needed for something.
async fn prepare_for<T>(
    tx: &Transaction<'_>,
    sql: &str,
    rows: &[T],
) -> Result<Option<Statement>, Error> {
    Ok(if rows.is_empty() { None } else { Some(tx.prepare_cached(sql).await?) })
}

/// Opens cases, marks keys dirty, writes the versions and the journal, moves the position, and
/// commits all of the batch, in one round trip.
pub(crate) async fn settle_and_commit(
    tx: &Transaction<'_>,
    topic: &Topic,
    copy: &Copy,
    entry: &Entry<'_>,
    settled: &Settled<'_>,
) -> Result<(), Error> {
    let (open, mark, settle) = try_join!(
        prepare_for(tx, OPEN_CASES, &settled.cases),
        prepare_for(tx, MARK_DIRTY, &settled.dirty),
        async { Ok(tx.prepare_cached(SETTLE).await?) },
    )?;
    // From here on nothing is awaited before it is sent: the commit comes right after.
    let open = OptionFuture::from(open.as_ref().map(|statement| {
        insert_cases(tx, statement, (topic, Some(entry.stream), copy), &settled.cases)
    }));
    let mark = OptionFuture::from(
        mark.as_ref().map(|statement| insert_marks(tx, statement, &settled.dirty)),
    );
    let last = async {
        let open = open.map(Option::transpose);
        let mark = mark.map(Option::transpose);
        let settle = settle_books(tx, &settle, (topic, copy), entry, settled);
        let (_, _, moved) = try_join!(open, mark, settle)?;
        Ok(moved)
    };
    match tx.commit_with(last).await {
        Ok(1) => Ok(()),
        Ok(_) => Err(Error::Corrupt("a locked position is gone".to_owned())),
        // Not every winner was written.
        Err(error) if error.as_db_error().and_then(DbError::constraint) == Some(BALANCE) => {
            Err(Error::Overtaken)
        }
        Err(error) => Err(error.into()),
    }
}

async fn settle_books(
    tx: &Transaction<'_>,
    statement: &Statement,
    (topic, copy): (&Topic, &Copy),
    entry: &Entry<'_>,
    settled: &Settled<'_>,
) -> Result<u64, tokio_postgres::Error> {
    let Winners { keys, versions, digests, numbers } = Winners::of(settled);
    let mut stale: Vec<_> = settled.stale.iter().map(|pn| pn.get()).collect();
    stale.sort_unstable();
    let mut cases: Vec<_> = settled.cases.iter().filter_map(|case| case.pn.map(Pn::get)).collect();
    cases.sort_unstable();
    tx.execute(
        statement,
        &[
            &entry.stream.as_str(),
            &topic.as_str(),
            &copy.history,
            &copy.rebuild,
            &keys,
            &versions,
            &digests,
            &numbers,
            &entry.first.get(),
            &entry.last.get(),
            &entry.term.get(),
            &entry.via.as_str(),
            &stale,
            &cases,
            &entry.written_at,
            &entry.received_at,
            &entry.lock_us(),
            &entry.gate_us(),
            &entry.apply_us(),
            &i64::from(settled.contradictions),
        ],
    )
    .await
}

/// The winners of a batch, a column each; in key order, as they came from the gate.
struct Winners<'a> {
    keys: Vec<&'a str>,
    versions: Vec<i64>,
    digests: Vec<Option<&'a [u8]>>,
    numbers: Vec<Option<i64>>,
}

impl<'a> Winners<'a> {
    fn of(settled: &'a Settled<'_>) -> Self {
        let all = || settled.winners.iter();
        Self {
            keys: all().map(|winner| winner.key.as_str()).collect(),
            versions: all().map(|winner| winner.version.get()).collect(),
            digests: all().map(|w| w.digest.as_ref().map(|d| &d.as_bytes()[..])).collect(),
            numbers: all().map(|winner| winner.pn.map(Pn::get)).collect(),
        }
    }
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
