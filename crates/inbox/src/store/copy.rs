//! Statements about whole copies: their streams, their rebuilds, and what killed their process.

use std::collections::BTreeMap;

use contracts::calls::{self, StreamState};
use contracts::{Key, Pn, Stream, Term, Topic};
use deadpool_postgres::{Client, ClientWrapper};
use futures::try_join;
use protocol::reader::{Attempt, Phase, Position};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Copy, READ_TOPIC, pn, position, stream};
use crate::apply::Winner;
use crate::{Error, Transaction};

const READ_IDENTITY: &str = include_str!("../../queries/read_identity.sql");
const CREATE_TOPIC: &str = include_str!("../../queries/create_topic.sql");
const BEGIN_RUNNING: &str = include_str!("../../queries/begin_running.sql");
const END_RUNNING: &str = include_str!("../../queries/end_running.sql");
const READ_POSITION: &str = include_str!("../../queries/read_position.sql");
const READ_POSITIONS: &str = include_str!("../../queries/read_positions.sql");
const CREATE_POSITION: &str = include_str!("../../queries/create_position.sql");
const LOCK_POSITIONS: &str = include_str!("../../queries/lock_positions.sql");
const LOCK_TOPIC: &str = include_str!("../../queries/lock_topic.sql");
const ARCHIVE_POSITIONS: &str = include_str!("../../queries/archive_positions.sql");
const DELETE_POSITIONS: &str = include_str!("../../queries/delete_positions.sql");
const UNNUMBER_DIRTY: &str = include_str!("../../queries/unnumber_dirty.sql");
const SET_POSITIONS: &str = include_str!("../../queries/set_positions.sql");
const BEGIN_REBUILD: &str = include_str!("../../queries/begin_rebuild.sql");
const HEAR_TERM: &str = include_str!("../../queries/hear_term.sql");
const MOVE_CURSOR: &str = include_str!("../../queries/move_cursor.sql");
const HALT_TOPIC: &str = include_str!("../../queries/halt_topic.sql");
const SEE_KEYS: &str = include_str!("../../queries/see_keys.sql");
const READ_UNSEEN: &str = include_str!("../../queries/read_unseen.sql");
const BURY_KEYS: &str = include_str!("../../queries/bury_keys.sql");
const SUPERSEDE_CASES: &str = include_str!("../../queries/supersede_cases.sql");
const HAS_OVERTAKEN: &str = include_str!("../../queries/has_overtaken.sql");
const CLOSE_OVERTAKEN: &str = include_str!("../../queries/close_overtaken.sql");
const CLOSE_OLDER_CASES: &str = include_str!("../../queries/close_older_cases.sql");
const READ_ATTEMPT: &str = include_str!("../../queries/read_attempt.sql");
const RECORD_ATTEMPT: &str = include_str!("../../queries/record_attempt.sql");
const SURVIVE_ATTEMPT: &str = include_str!("../../queries/survive_attempt.sql");
const FAIL_ATTEMPT: &str = include_str!("../../queries/fail_attempt.sql");
const FORGET_ATTEMPTS: &str = include_str!("../../queries/forget_attempts.sql");

/// The id that this database was given once.
pub(crate) async fn read_identity(client: &Client) -> Result<Uuid, Error> {
    let statement = client.prepare_cached(READ_IDENTITY).await?;
    Ok(client.query_one(&statement, &[]).await?.try_get("identity")?)
}

/// Enters a topic that this database never followed.
pub(crate) async fn create_topic(client: &Client, topic: &Topic) -> Result<(), Error> {
    let statement = client.prepare_cached(CREATE_TOPIC).await?;
    client.execute(&statement, &[&topic.as_str()]).await?;
    Ok(())
}

/// Puts the mark of this process; answers whether another's was left over.
pub(crate) async fn begin_running(
    client: &Client,
    topic: &Topic,
    process: Uuid,
) -> Result<bool, Error> {
    let statement = client.prepare_cached(BEGIN_RUNNING).await?;
    let row = client.query_one(&statement, &[&topic.as_str(), &process]).await?;
    Ok(row.try_get("unclean")?)
}

/// Takes the mark of this process away.
pub(crate) async fn end_running(
    client: &Client,
    topic: &Topic,
    process: Uuid,
) -> Result<(), Error> {
    let statement = client.prepare_cached(END_RUNNING).await?;
    client.execute(&statement, &[&topic.as_str(), &process]).await?;
    Ok(())
}

/// The copy and its positions, as one moment saw them.
pub(crate) async fn read_copy(
    client: &Client,
    topic: &Topic,
) -> Result<(Copy, Vec<calls::Position>), Error> {
    let (copy, positions) =
        try_join!(client.prepare_cached(READ_TOPIC), client.prepare_cached(READ_POSITIONS))?;
    let name: [&(dyn ToSql + Sync); 1] = [&topic.as_str()];
    // The copy first: positions of a rebuild that began in between are refused by its number.
    let (copy, rows) = try_join!(client.query_one(&copy, &name), client.query(&positions, &name))?;
    let positions = rows.iter().map(|row| {
        let Position { pn, term } = position(row)?;
        Ok(calls::Position { stream: stream(row)?, pn, term })
    });
    Ok((Copy::read(&copy)?, positions.collect::<Result<_, Error>>()?))
}

/// The position of one stream and the phase of its copy.
pub(crate) async fn read_position(
    client: &Client,
    stream: &Stream,
) -> Result<Option<(Position, Phase)>, Error> {
    let statement = client.prepare_cached(READ_POSITION).await?;
    let Some(row) = client.query_opt(&statement, &[&stream.as_str()]).await? else {
        return Ok(None);
    };
    let phase: &str = row.try_get("phase")?;
    let phase = Phase::parse(phase).ok_or_else(|| Error::Corrupt(format!("phase {phase}")))?;
    Ok(Some((position(&row)?, phase)))
}

/// Enters streams that were never heard of, at their root.
pub(crate) async fn create_positions(
    client: &Client,
    topic: &Topic,
    root: Term,
    streams: &[&Stream],
) -> Result<(), Error> {
    let names: Vec<_> = streams.iter().map(|stream| stream.as_str()).collect();
    let statement = client.prepare_cached(CREATE_POSITION).await?;
    client.execute(&statement, &[&topic.as_str(), &root.get(), &names]).await?;
    Ok(())
}

/// Locks a whole copy: its positions in name order, then its row.
pub(crate) async fn lock_copy(
    tx: &Transaction<'_>,
    topic: &Topic,
) -> Result<(Copy, BTreeMap<Stream, Position>), Error> {
    let (positions, copy) =
        try_join!(tx.prepare_cached(LOCK_POSITIONS), tx.prepare_cached(LOCK_TOPIC),)?;
    let name: [&(dyn ToSql + Sync); 1] = [&topic.as_str()];
    let (rows, copy) = try_join!(tx.query(&positions, &name), tx.query_one(&copy, &name),)?;
    let positions = rows.iter().map(|row| Ok((stream(row)?, position(row)?)));
    Ok((Copy::read(&copy)?, positions.collect::<Result<_, Error>>()?))
}

/// Ends the books of a copy and begins new ones at the heads; answers rebuild and history.
pub(crate) async fn begin_rebuild(
    tx: &Transaction<'_>,
    topic: &Topic,
    ending: i64,
    raise: i64,
    (root, heads): (Term, &[StreamState]),
) -> Result<(i64, i64), Error> {
    let name = topic.as_str();
    let archive = tx.prepare_cached(ARCHIVE_POSITIONS).await?;
    tx.execute(&archive, &[&name, &ending]).await?;
    let unnumber = tx.prepare_cached(UNNUMBER_DIRTY).await?;
    tx.execute(&unnumber, &[&name]).await?;
    let delete = tx.prepare_cached(DELETE_POSITIONS).await?;
    tx.execute(&delete, &[&name]).await?;
    let streams: Vec<_> = heads.iter().map(|head| head.stream.as_str()).collect();
    let numbers: Vec<_> = heads.iter().map(|head| head.head.get()).collect();
    let terms: Vec<_> = heads.iter().map(|head| head.term.get()).collect();
    let set = tx.prepare_cached(SET_POSITIONS).await?;
    tx.execute(&set, &[&name, &streams, &numbers, &terms]).await?;
    let begin = tx.prepare_cached(BEGIN_REBUILD).await?;
    let row = tx.query_one(&begin, &[&name, &raise, &root.get()]).await?;
    Ok((row.try_get("rebuild")?, row.try_get("history")?))
}

/// Remembers the term of the relay that answered.
pub(crate) async fn hear_term(client: &Client, topic: &Topic, term: Term) -> Result<(), Error> {
    let statement = client.prepare_cached(HEAR_TERM).await?;
    client.execute(&statement, &[&topic.as_str(), &term.get()]).await?;
    Ok(())
}

/// Moves a rebuild on, with whatever this transaction did.
pub(crate) async fn move_cursor(
    tx: &Transaction<'_>,
    topic: &Topic,
    phase: Phase,
    cursor: Option<&str>,
) -> Result<(), Error> {
    let statement = tx.prepare_cached(MOVE_CURSOR).await?;
    tx.execute(&statement, &[&topic.as_str(), &phase.as_str(), &cursor]).await?;
    Ok(())
}

/// Stops a copy.
pub(crate) async fn halt(
    tx: &Transaction<'_>,
    topic: &Topic,
    complaint: &str,
) -> Result<(), Error> {
    let statement = tx.prepare_cached(HALT_TOPIC).await?;
    let phase = Phase::Diverged.as_str();
    tx.execute(&statement, &[&topic.as_str(), &phase, &complaint]).await?;
    Ok(())
}

/// Notes that these keys stand in the snapshot.
pub(crate) async fn see_keys(
    tx: &Transaction<'_>,
    topic: &Topic,
    keys: &[&str],
    rebuild: i64,
) -> Result<(), Error> {
    let statement = tx.prepare_cached(SEE_KEYS).await?;
    tx.execute(&statement, &[&topic.as_str(), &keys, &rebuild]).await?;
    Ok(())
}

/// The next keys that this rebuild has not met.
pub(crate) async fn read_unseen(
    tx: &Transaction<'_>,
    topic: &Topic,
    rebuild: i64,
    after: &str,
    limit: i64,
) -> Result<Vec<Key>, Error> {
    let statement = tx.prepare_cached(READ_UNSEEN).await?;
    let rows = tx.query(&statement, &[&topic.as_str(), &rebuild, &after, &limit]).await?;
    rows.iter().map(key).collect()
}

fn key(row: &tokio_postgres::Row) -> Result<Key, Error> {
    Key::parse(row.try_get("key")?).map_err(|error| Error::Corrupt(error.to_string()))
}

/// Leaves tombstones that any later state of these keys beats.
pub(crate) async fn bury_keys(
    tx: &Transaction<'_>,
    topic: &Topic,
    copy: &Copy,
    keys: &[Key],
) -> Result<(), Error> {
    let keys: Vec<_> = keys.iter().map(Key::as_str).collect();
    let statement = tx.prepare_cached(BURY_KEYS).await?;
    tx.execute(&statement, &[&topic.as_str(), &keys, &copy.history, &copy.rebuild]).await?;
    Ok(())
}

/// Closes the cases that the rows of a page overtake.
pub(crate) async fn supersede_cases(
    tx: &Transaction<'_>,
    topic: &Topic,
    copy: &Copy,
    winners: &[Winner<'_>],
) -> Result<(), Error> {
    let keys: Vec<_> = winners.iter().map(|winner| winner.key.as_str()).collect();
    let versions: Vec<_> = winners.iter().map(|winner| winner.version.get()).collect();
    let statement = tx.prepare_cached(SUPERSEDE_CASES).await?;
    let (topic, history, rebuild) = (topic.as_str(), copy.history, copy.rebuild);
    tx.execute(&statement, &[&topic, &keys, &versions, &history, &rebuild]).await?;
    Ok(())
}

/// Whether a newer version overtook an open case by another lane.
pub(crate) async fn has_overtaken(client: &Client, topic: &Topic) -> Result<bool, Error> {
    let statement = client.prepare_cached(HAS_OVERTAKEN).await?;
    Ok(client.query_one(&statement, &[&topic.as_str()]).await?.try_get("has")?)
}

/// Closes such cases; answers their keys.
pub(crate) async fn close_overtaken(
    tx: &Transaction<'_>,
    topic: &Topic,
    copy: &Copy,
) -> Result<Vec<Key>, Error> {
    let statement = tx.prepare_cached(CLOSE_OVERTAKEN).await?;
    let rows = tx.query(&statement, &[&topic.as_str(), &copy.rebuild]).await?;
    rows.iter().map(key).collect()
}

/// Closes the cases of older rebuilds; answers their keys.
pub(crate) async fn close_older_cases(
    tx: &Transaction<'_>,
    topic: &Topic,
    copy: &Copy,
) -> Result<Vec<Key>, Error> {
    let statement = tx.prepare_cached(CLOSE_OLDER_CASES).await?;
    let rows = tx.query(&statement, &[&topic.as_str(), &copy.rebuild]).await?;
    rows.iter().map(key).collect()
}

/// The recorded try of a stream, and whether it failed without a death.
pub(crate) async fn read_attempt(
    tx: &Transaction<'_>,
    stream: &Stream,
    process: Uuid,
) -> Result<Option<(Attempt, bool)>, Error> {
    let statement = tx.prepare_cached(READ_ATTEMPT).await?;
    let row = tx.query_opt(&statement, &[&stream.as_str(), &process]).await?;
    let Some(row) = row else { return Ok(None) };
    let attempt = Attempt {
        first: pn(&row, "first")?,
        last: pn(&row, "last")?,
        suspect: pn(&row, "suspect")?,
        count: u32::try_from(row.try_get::<_, i32>("times")?).unwrap_or(0),
        survived: row.try_get("survived")?,
    };
    Ok(Some((attempt, row.try_get("failed")?)))
}

/// Records a try before it is made, durably.
pub(crate) async fn record_attempt(
    client: &ClientWrapper,
    (topic, stream): (&Topic, &Stream),
    attempt: &Attempt,
    process: Uuid,
) -> Result<(), Error> {
    let [first, last, suspect] = [attempt.first, attempt.last, attempt.suspect].map(Pn::get);
    let times = i32::try_from(attempt.count).unwrap_or(i32::MAX);
    let (topic, stream) = (topic.as_str(), stream.as_str());
    let statement = client.prepare_cached(RECORD_ATTEMPT).await?;
    client
        .execute(&statement, &[&stream, &topic, &first, &last, &suspect, &times, &process])
        .await?;
    Ok(())
}

/// The try was survived, if this transaction commits.
pub(crate) async fn survive_attempt(tx: &Transaction<'_>, stream: &Stream) -> Result<(), Error> {
    let statement = tx.prepare_cached(SURVIVE_ATTEMPT).await?;
    tx.execute(&statement, &[&stream.as_str()]).await?;
    Ok(())
}

/// The try failed, and the process lives.
pub(crate) async fn fail_attempt(
    client: &ClientWrapper,
    stream: &Stream,
    process: Uuid,
) -> Result<(), Error> {
    let statement = client.prepare_cached(FAIL_ATTEMPT).await?;
    client.execute(&statement, &[&stream.as_str(), &process]).await?;
    Ok(())
}

/// Forgets the tries of one process, or of all once the copy has passed what killed them.
pub(crate) async fn forget_attempts(
    client: &Client,
    topic: &Topic,
    process: Option<Uuid>,
) -> Result<(), Error> {
    let statement = client.prepare_cached(FORGET_ATTEMPTS).await?;
    client.execute(&statement, &[&topic.as_str(), &process]).await?;
    Ok(())
}
