//! Statements about the way of one change: what became of it here, and what has noticed it.

use chrono::{DateTime, Utc};
use contracts::{Key, Pn, Stream, Topic, Version};
use deadpool_postgres::Client;
use serde::Serialize;
use tokio_postgres::Row;

use super::pn;
use crate::Error;

const PRUNE_JOURNAL: &str = include_str!("../../queries/prune_journal.sql");
const PRUNE_CLEANED: &str = include_str!("../../queries/prune_cleaned.sql");
const READ_TRAIL: &str = include_str!("../../queries/read_trail.sql");
const READ_SINKS: &str = include_str!("../../queries/read_sinks.sql");

/// Ends some notes that are older than so many days; answers how many of each kind.
pub(crate) async fn prune(client: &Client, days: u32, rows_max: i64) -> Result<[u64; 2], Error> {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let journal = client.prepare_cached(PRUNE_JOURNAL).await?;
    let cleaned = client.prepare_cached(PRUNE_CLEANED).await?;
    Ok([
        client.execute(&journal, &[&days, &rows_max]).await?,
        client.execute(&cleaned, &[&days, &rows_max]).await?,
    ])
}

/// What became of a change here.
#[derive(Debug, Serialize)]
pub(crate) struct Passed {
    pub(crate) phase: String,
    /// The newest state that the copy has, of whichever change.
    pub(crate) held: Option<Held>,
    /// Up to where the stream has its outcomes.
    pub(crate) position: Option<Pn>,
    /// By which road it came: `push`, `feed`, or with the pages of a rebuild, `snapshot`.
    pub(crate) via: Option<String>,
    pub(crate) outcome: Option<&'static str>,
    pub(crate) received_at: Option<DateTime<Utc>>,
    pub(crate) applied_at: Option<DateTime<Utc>>,
    pub(crate) steps: Option<Steps>,
    /// The newest open case of the key, of whichever change.
    pub(crate) case: Option<OpenCase>,
}

/// The newest state of a key that the gate let through.
#[derive(Debug, Serialize)]
pub(crate) struct Held {
    history: String,
    version: Version,
    deleted: bool,
}

/// What the steps of its batch took.
#[derive(Debug, Serialize)]
pub(crate) struct Steps {
    lock_us: i64,
    gate_us: i64,
    apply_us: i64,
}

/// A record set aside.
#[derive(Debug, Serialize)]
pub(crate) struct OpenCase {
    id: String,
    kind: String,
    version: Option<String>,
    pn: Option<Pn>,
    rule: String,
    reason: String,
    opened_at: DateTime<Utc>,
}

/// A sink, and since when it has everything up to the change.
#[derive(Debug, Serialize)]
pub(crate) struct SinkTrail {
    sink: String,
    clean_at: Option<DateTime<Utc>>,
    /// Not known where nobody says which change is meant.
    pub(crate) dirty: Option<bool>,
}

/// What became of the latest change of a key, at this number if it is known; none where the topic
/// is not followed.
pub(crate) async fn read_trail(
    client: &Client,
    topic: &Topic,
    key: &Key,
    place: Option<&(Stream, Pn)>,
) -> Result<Option<Passed>, Error> {
    let (stream, number) = columns(place);
    let statement = client.prepare_cached(READ_TRAIL).await?;
    let parameters = (topic.as_str(), key.as_str());
    let row =
        client.query_opt(&statement, &[&parameters.0, &parameters.1, &stream, &number]).await?;
    row.map(|row| passed(&row, number)).transpose()
}

/// Every sink of this database.
pub(crate) async fn read_sinks(
    client: &Client,
    topic: &Topic,
    place: Option<&(Stream, Pn)>,
) -> Result<Vec<SinkTrail>, Error> {
    let (stream, number) = columns(place);
    let statement = client.prepare_cached(READ_SINKS).await?;
    let rows = client.query(&statement, &[&topic.as_str(), &stream, &number]).await?;
    let sinks = rows.iter().map(|row| {
        Ok(SinkTrail {
            sink: row.try_get("sink")?,
            clean_at: row.try_get("clean_at")?,
            dirty: row.try_get("is_dirty")?,
        })
    });
    sinks.collect()
}

fn columns(place: Option<&(Stream, Pn)>) -> (Option<&str>, Option<i64>) {
    (place.map(|(stream, _)| stream.as_str()), place.map(|(_, pn)| pn.get()))
}

fn passed(row: &Row, number: Option<i64>) -> Result<Passed, Error> {
    let position: Option<i64> = row.try_get("position")?;
    let start: Option<i64> = row.try_get("start")?;
    let via: Option<String> = row.try_get("via")?;
    let is_of_page = start.zip(number).is_some_and(|(start, number)| number <= start);
    let outcome = match (row.try_get("is_case")?, row.try_get("is_stale")?) {
        (true, _) => "case",
        (false, true) => "stale",
        (false, false) => "applied",
    };
    Ok(Passed {
        phase: row.try_get("phase")?,
        held: held(row)?,
        position: position.is_some().then(|| pn(row, "position")).transpose()?,
        outcome: via.is_some().then_some(outcome),
        via: via.or_else(|| is_of_page.then(|| "snapshot".to_owned())),
        received_at: row.try_get("received_at")?,
        applied_at: row.try_get("applied_at")?,
        steps: steps(row)?,
        case: open_case(row)?,
    })
}

fn held(row: &Row) -> Result<Option<Held>, Error> {
    let Some(history) = row.try_get::<_, Option<i64>>("history")? else { return Ok(None) };
    let version = Version::try_from(row.try_get::<_, i64>("version")?)
        .map_err(|error| Error::Corrupt(error.to_string()))?;
    Ok(Some(Held { history: history.to_string(), version, deleted: row.try_get("deleted")? }))
}

fn steps(row: &Row) -> Result<Option<Steps>, Error> {
    let Some(lock_us) = row.try_get("lock_us")? else { return Ok(None) };
    let (gate_us, apply_us) = (row.try_get("gate_us")?, row.try_get("apply_us")?);
    Ok(Some(Steps { lock_us, gate_us, apply_us }))
}

fn open_case(row: &Row) -> Result<Option<OpenCase>, Error> {
    let Some(id) = row.try_get::<_, Option<i64>>("case_id")? else { return Ok(None) };
    let number: Option<i64> = row.try_get("case_pn")?;
    Ok(Some(OpenCase {
        id: id.to_string(),
        kind: row.try_get("kind")?,
        version: row.try_get::<_, Option<i64>>("case_version")?.map(|v| v.to_string()),
        pn: number.is_some().then(|| pn(row, "case_pn")).transpose()?,
        rule: row.try_get("rule")?,
        reason: String::from_utf8_lossy(row.try_get("reason")?).into_owned(),
        opened_at: row.try_get("opened_at")?,
    }))
}
