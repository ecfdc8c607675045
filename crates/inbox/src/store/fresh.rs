//! Statements about what is clean, what is held, and what copies were built from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use contracts::{Topic, Version};
use deadpool_postgres::Client;
use protocol::fresh::{Settled, Sight};
use protocol::reader::Phase;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{pn, position, stream};
use crate::Error;
use crate::held::{Held, Record};

const READ_SIGHT: &str = include_str!("../../queries/read_sight.sql");
const READ_PAST: &str = include_str!("../../queries/read_past.sql");
const READ_HELD: &str = include_str!("../../queries/read_held.sql");
const READ_OPEN_CASES: &str = include_str!("../../queries/read_open_cases.sql");

/// A copy and what one sink has yet to notice of it, as one moment saw both.
pub(crate) async fn read_sight(client: &Client, topic: &Topic, sink: &str) -> Result<Sight, Error> {
    let statement = client.prepare_cached(READ_SIGHT).await?;
    let rows = client.query(&statement, &[&topic.as_str(), &sink]).await?;
    let unknown = || Error::Corrupt(format!("there is no copy of {topic}"));
    let first = rows.first().ok_or_else(unknown)?;
    let phase: &str = first.try_get("phase")?;
    let phase = Phase::parse(phase).ok_or_else(|| Error::Corrupt(format!("phase {phase}")))?;
    let mut streams = BTreeMap::new();
    for row in &rows {
        if row.try_get::<_, Option<&str>>("stream")?.is_some() {
            let low = row.try_get::<_, Option<i64>>("low")?.map(|_| pn(row, "low")).transpose()?;
            streams.insert(stream(row)?, Settled { position: position(row)?, low });
        }
    }
    let (rebuild, has_unnumbered) = (first.try_get("rebuild")?, first.try_get("has_unnumbered")?);
    Ok(Sight { phase, rebuild, streams, has_unnumbered })
}

/// All that tells one past of these copies from another, as text.
pub(crate) async fn read_past(client: &Client, topics: &[&str]) -> Result<String, Error> {
    let statement = client.prepare_cached(READ_PAST).await?;
    let rows = client.query(&statement, &[&topics]).await?;
    let mut past = String::new();
    for row in &rows {
        write_past(&mut past, row)?;
    }
    Ok(past)
}

fn write_past(past: &mut String, row: &Row) -> Result<(), Error> {
    if past.is_empty() {
        let (system, relation): (i64, i64) =
            (row.try_get("system_identifier")?, row.try_get("relation")?);
        let timeline: i32 = row.try_get("timeline_id")?;
        let _ = write!(past, "{system}/{timeline}/{relation}");
    }
    let (topic, phase): (&str, &str) = (row.try_get("topic")?, row.try_get("phase")?);
    let (rebuild, history): (i64, i64) = (row.try_get("rebuild")?, row.try_get("history")?);
    let ids: [Option<Uuid>; 2] = [row.try_get("root")?, row.try_get("term")?];
    let [root, term] = ids.map(Option::unwrap_or_default);
    let stream: Option<&str> = row.try_get("stream")?;
    let lost: Option<i64> = row.try_get("lost")?;
    let (stream, lost) = (stream.unwrap_or("-"), lost.unwrap_or_default());
    // Text that is written cannot be refused.
    let _ = write!(past, " {topic}:{phase}:{rebuild}:{history}:{root}:{stream}:{term}:{lost}");
    Ok(())
}

/// What is held of these records.
pub(crate) async fn read_held(client: &Client, records: &[Record]) -> Result<Vec<Held>, Error> {
    let (topics, keys) = columns(records);
    let statement = client.prepare_cached(READ_HELD).await?;
    let rows = client.query(&statement, &[&topics, &keys]).await?;
    let held = rows.iter().map(|row| {
        let version = row.try_get::<_, Option<i64>>("version")?.map(Version::try_from);
        let version = version.transpose().map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(Held { record: record(row)?, version, has_open_case: row.try_get("has_open_case")? })
    });
    held.collect()
}

/// Those of these records that are set aside, or have below them one that is.
pub(crate) async fn read_open_cases(
    client: &Client,
    records: &[Record],
) -> Result<Vec<Record>, Error> {
    let (topics, keys) = columns(records);
    let statement = client.prepare_cached(READ_OPEN_CASES).await?;
    client.query(&statement, &[&topics, &keys]).await?.iter().map(record).collect()
}

fn columns(records: &[Record]) -> (Vec<&str>, Vec<&str>) {
    records.iter().map(|record| (record.topic.as_str(), record.key.as_str())).unzip()
}

fn record(row: &Row) -> Result<Record, Error> {
    Ok(Record { topic: row.try_get("topic")?, key: row.try_get("key")? })
}
