//! What Redis takes and gives through one connection: entries of a stream, a hundred at a time.

use std::time::Duration;

use anyhow::Context as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, Value};
use secrecy::{ExposeSecret as _, SecretString};

use super::Pace;

/// Entries in a pipeline, and in an answer.
const BATCH: u64 = 100;
/// What an entry carries, in bytes.
const ENTRY_BYTES: usize = 500;
/// The entries that are kept, so that the probe fills no memory.
const KEPT: u64 = 50_000;
/// Longer than a machine stalls whose rounds are judged at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const GROUP: &str = "limit";

/// Entries added in a second, and read and acknowledged in a second.
pub(super) async fn probe(url: &SecretString, probe: Duration) -> anyhow::Result<(f64, f64)> {
    let client = Client::open(url.expose_secret()).context("read the URL of Redis")?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .context("connect to Redis")?;
    let stream = format!("bench-limit-{}", std::process::id());
    let added = add(&mut connection, &stream, probe).await.context("probe adding to a stream");
    let read = read(&mut connection, &stream, probe).await.context("probe reading a stream");
    let removed = Cmd::unlink(&stream).exec_async(&mut connection).await;
    removed.context("remove the probe's stream")?;
    Ok((added?, read?))
}

async fn add(
    connection: &mut MultiplexedConnection,
    stream: &str,
    probe: Duration,
) -> anyhow::Result<f64> {
    let entry = vec![b'e'; ENTRY_BYTES];
    let mut pace = Pace::start(probe);
    while pace.goes_on() {
        // Made anew each time, as one that carries changes would be.
        let mut adding = Pipeline::with_capacity(usize::try_from(BATCH)?);
        for _ in 0..BATCH {
            adding.cmd("XADD").arg(stream).arg("MAXLEN").arg("~").arg(KEPT);
            adding.arg("*").arg("data").arg(&entry).ignore();
        }
        adding.exec_async(connection).await?;
        pace.count(BATCH);
    }
    Ok(pace.rate())
}

async fn read(
    connection: &mut MultiplexedConnection,
    stream: &str,
    probe: Duration,
) -> anyhow::Result<f64> {
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATE").arg(stream).arg(GROUP).arg("0").exec_async(connection).await?;
    let mut rewind = redis::cmd("XGROUP");
    rewind.arg("SETID").arg(stream).arg(GROUP).arg("0");
    let mut handled: Vec<Vec<u8>> = Vec::new();
    let mut pace = Pace::start(probe);
    while pace.goes_on() {
        // The acknowledgement travels with the next question.
        let mut asking = Pipeline::with_capacity(2);
        if !handled.is_empty() {
            asking.cmd("XACK").arg(stream).arg(GROUP).arg(&handled).ignore();
        }
        asking.cmd("XREADGROUP").arg("GROUP").arg(GROUP).arg(GROUP);
        asking.arg("COUNT").arg(BATCH).arg("STREAMS").arg(stream).arg(">");
        let (answer,): (Value,) = asking.query_async(connection).await?;
        pace.count(handled.len() as u64);
        handled = ids(answer);
        if handled.is_empty() {
            rewind.exec_async(connection).await?;
        }
    }
    Ok(pace.rate())
}

/// The ids of the entries of the one stream that was read; none if it was read to its end.
fn ids(answer: Value) -> Vec<Vec<u8>> {
    let entries = match answer {
        Value::Array(mut streams) => match streams.pop() {
            Some(Value::Array(mut named)) => named.pop(),
            _ => None,
        },
        Value::Map(mut streams) => streams.pop().map(|(_, entries)| entries),
        _ => None,
    };
    let Some(Value::Array(entries)) = entries else { return Vec::new() };
    let ids = entries.into_iter().filter_map(|entry| {
        let Value::Array(parts) = entry else { return None };
        match parts.into_iter().next() {
            Some(Value::BulkString(id)) => Some(id),
            _ => None,
        }
    });
    ids.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn ids_are_read_in_both_forms_of_the_protocol() {
        let entry = |id: &str| {
            let fields = Value::Array(vec![text("data"), text("e")]);
            Value::Array(vec![text(id), fields])
        };
        let entries = || Value::Array(vec![entry("1-0"), entry("2-0")]);
        let expected = vec![b"1-0".to_vec(), b"2-0".to_vec()];
        let second = Value::Array(vec![Value::Array(vec![text("stream"), entries()])]);
        assert_eq!(ids(second), expected);
        assert_eq!(ids(Value::Map(vec![(text("stream"), entries())])), expected);
        assert!(ids(Value::Nil).is_empty());
    }
}
