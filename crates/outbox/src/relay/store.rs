//! The statements of a relay that answer and remember; ticks have a session of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use deadpool_postgres::{Client, Pool};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};
use uuid::Uuid;

use contracts::calls::Position;
use contracts::{Key, Pn, Stream, Term, Topic};

use super::RelayError;

const RELATE: &str = include_str!("../../queries/relate.sql");
const CONFIRM: &str = include_str!("../../queries/confirm.sql");
const IDENTITY: &str = include_str!("../../queries/identity.sql");
const STREAM: &str = include_str!("../../queries/stream.sql");
const CHANGES: &str = include_str!("../../queries/changes.sql");
const PAGE: &str = include_str!("../../queries/page.sql");
const SINGLE: &str = include_str!("../../queries/single.sql");
const TRAIL: &str = include_str!("../../queries/trail.sql");
const SAVE_MARKS: &str = include_str!("../../queries/save_marks.sql");
const CONSUMERS: &str = include_str!("../../queries/consumers.sql");

/// Longest that the database may take to answer; then it counts as away. Our own clock, since a
/// frozen database does not look at its.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Everything the relay asks its database beside ticking.
#[derive(Debug)]
pub(super) struct Store {
    pool: Pool,
}

/// A stream as it is stored, and what it holds at one position.
#[derive(Debug)]
pub(super) struct StoredStream {
    pub(super) head: Pn,
    pub(super) floor: Pn,
    pub(super) floor_term: Term,
    /// The term of the number asked about, if a segment holds it.
    pub(super) term: Option<Term>,
}

/// How many rows and bytes one answer may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) rows_max: i64,
    pub(super) bytes_max: i64,
}

/// What a consumer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Confirmation {
    pub(super) identity: Uuid,
    pub(super) topics: Vec<Topic>,
    pub(super) positions: Option<Vec<Position>>,
}

impl Store {
    pub(super) const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// What the source holds of each stream of these topics and of each position.
    pub(super) async fn relate(
        &self,
        topics: &[Topic],
        positions: &[Position],
    ) -> Result<Vec<(Stream, Option<StoredStream>)>, RelayError> {
        let topics: Vec<&str> = topics.iter().map(Topic::as_str).collect();
        let streams: Vec<&str> = positions.iter().map(|p| p.stream.as_str()).collect();
        let numbers: Vec<i64> = positions.iter().map(|p| p.pn.get()).collect();
        let rows = self.query(RELATE, &[&streams, &numbers, &topics]).await?;
        rows.iter().map(|row| Ok((parsed(row, "stream", Stream::parse)?, stored(row)?))).collect()
    }

    /// Whose name this is, if it is anybody's.
    pub(super) async fn identity(&self, consumer: &str) -> Result<Option<Uuid>, RelayError> {
        let rows = self.query(IDENTITY, &[&consumer]).await?;
        rows.first().map(|row| column(row, "identity")).transpose()
    }

    /// Stores what a consumer says of itself; answers whether the name is its own.
    pub(super) async fn confirm(
        &self,
        consumer: &str,
        confirmation: &Confirmation,
        n: i64,
    ) -> Result<bool, RelayError> {
        let topics: Vec<&str> = confirmation.topics.iter().map(Topic::as_str).collect();
        let reports = confirmation.positions.is_some();
        let positions = confirmation.positions.as_deref().unwrap_or_default();
        let placed: Vec<(&Position, &Topic)> = positions
            .iter()
            .filter_map(|position| {
                let mut topics = confirmation.topics.iter();
                Some((position, topics.find(|topic| position.stream.belongs_to(topic))?))
            })
            .collect();
        let streams: Vec<&str> = placed.iter().map(|(p, _)| p.stream.as_str()).collect();
        let of_topics: Vec<&str> = placed.iter().map(|(_, topic)| topic.as_str()).collect();
        let numbers: Vec<i64> = placed.iter().map(|(p, _)| p.pn.get()).collect();
        let terms: Vec<Uuid> = placed.iter().map(|(p, _)| p.term.get()).collect();
        let identity = &confirmation.identity;
        let rows = self
            .query(
                CONFIRM,
                &[
                    &consumer, identity, &topics, &reports, &streams, &of_topics, &numbers, &terms,
                    &n,
                ],
            )
            .await?;
        rows.first().map_or(Ok(false), |row| column(row, "entered"))
    }

    /// One stream and what it holds at a number, or `None` if the source lacks it; with the root.
    pub(super) async fn stream(
        &self,
        stream: &Stream,
        at: Pn,
    ) -> Result<(Option<StoredStream>, Term), RelayError> {
        let rows = self.query(STREAM, &[&stream.as_str(), &at.get()]).await?;
        let row = only(&rows)?;
        on_primary(row)?;
        Ok((stored(row)?, Term::new(column(row, "root")?)))
    }

    /// The changes that follow a number, as many as there is room for, with what was sealed.
    pub(super) async fn changes(
        &self,
        stream: &Stream,
        after: Pn,
        room: Room,
    ) -> Result<Vec<Row>, RelayError> {
        let (stream, after) = (stream.as_str(), after.get());
        self.query(CHANGES, &[&stream, &after, &room.rows_max, &room.bytes_max]).await
    }

    /// A page of the compacted stream behind a key; empty text is before the first.
    pub(super) async fn page(
        &self,
        topic: &Topic,
        after: &str,
        room: Room,
    ) -> Result<Vec<Row>, RelayError> {
        let rows =
            self.query(PAGE, &[&topic.as_str(), &after, &room.rows_max, &room.bytes_max]).await?;
        on_primary(only(&rows)?)?;
        Ok(rows)
    }

    /// One entity of the compacted stream.
    pub(super) async fn single(&self, topic: &Topic, key: &Key) -> Result<Vec<Row>, RelayError> {
        let rows = self.query(SINGLE, &[&topic.as_str(), &key.as_str()]).await?;
        on_primary(only(&rows)?)?;
        Ok(rows)
    }

    /// The latest change of an entity and where it was sealed, as far as that is known.
    pub(super) async fn trail(&self, topic: &Topic, key: &Key) -> Result<Row, RelayError> {
        let mut rows = self.query(TRAIL, &[&topic.as_str(), &key.as_str()]).await?;
        on_primary(only(&rows)?)?;
        Ok(rows.swap_remove(0))
    }

    /// Saves up to where the broker has each stream, while this term lasts.
    pub(super) async fn save_marks(
        &self,
        marks: &BTreeMap<Stream, Pn>,
        term: Term,
    ) -> Result<(), RelayError> {
        let streams: Vec<&str> = marks.keys().map(Stream::as_str).collect();
        let numbers: Vec<i64> = marks.values().map(|pn| pn.get()).collect();
        self.query(SAVE_MARKS, &[&streams, &numbers, &term.get()]).await.map(drop)
    }

    /// Who follows this source, a row for each stream that it reported.
    pub(super) async fn consumers(&self) -> Result<Vec<Row>, RelayError> {
        self.query(CONSUMERS, &[]).await
    }

    async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, RelayError> {
        let deadline = Instant::now() + ANSWER_MAX;
        let client = timeout_at(deadline, self.pool.get()).await.map_err(|_| RelayError::Slow)?;
        let client = client.map_err(RelayError::Pool)?;
        match timeout_at(deadline, ask(&client, sql, parameters)).await {
            Ok(answer) => answer.map_err(RelayError::Database),
            Err(_) => {
                // What is asked next would wait behind this.
                drop(Client::take(client));
                Err(RelayError::Slow)
            }
        }
    }
}

async fn ask(
    client: &Client,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let statement = client.prepare_cached(sql).await?;
    client.query(&statement, parameters).await
}

/// A column by its name.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &str) -> Result<T, RelayError> {
    row.try_get(name).map_err(RelayError::Database)
}

/// A column of text that has a form.
pub(super) fn parsed<T, E: std::fmt::Display>(
    row: &Row,
    name: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, RelayError> {
    parse(column(row, name)?).map_err(|error| RelayError::Row(error.to_string()))
}

/// A column that is a publication number.
pub(super) fn pn(row: &Row, name: &str) -> Result<Pn, RelayError> {
    Pn::try_from(column::<i64>(row, name)?).map_err(|error| RelayError::Row(error.to_string()))
}

fn stored(row: &Row) -> Result<Option<StoredStream>, RelayError> {
    if column::<Option<i64>>(row, "head")?.is_none() {
        return Ok(None);
    }
    Ok(Some(StoredStream {
        head: pn(row, "head")?,
        floor: pn(row, "floor")?,
        floor_term: Term::new(column(row, "floor_term")?),
        term: column::<Option<Uuid>>(row, "held")?.map(Term::new),
    }))
}

fn only(rows: &[Row]) -> Result<&Row, RelayError> {
    rows.first().ok_or_else(|| RelayError::Row("the tick row is missing".to_owned()))
}

fn on_primary(row: &Row) -> Result<(), RelayError> {
    if column(row, "standby")? { Err(RelayError::NotPrimary) } else { Ok(()) }
}
