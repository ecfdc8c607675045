//! What a relay says of itself for `/sync/status`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

use super::shared::{Reading, Shared};
use super::store::column;
use super::{RelayError, Turn};

/// The state of one source: who leads, what is numbered and published, who follows.
pub(super) async fn status(shared: &Arc<Shared>) -> Value {
    let health = shared.health();
    let reading = shared.readings.borrow().clone();
    let state = match (&health.error, health.turn) {
        (Some(_), _) => "away",
        (None, Some(Turn::Idle | Turn::Sealed(_))) if reading.is_some() => "leading",
        (None, Some(Turn::Standby)) => "standby",
        (None, Some(Turn::Fenced)) => "fenced",
        (None, None | Some(Turn::Idle | Turn::Sealed(_))) => "starting",
    };
    let consumers = match shared.store.consumers().await {
        Ok(rows) => consumers(&rows).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let streams = reading.as_deref().map(|r| streams(shared, r)).unwrap_or_default();
    json!({
        "source": shared.source,
        "state": state,
        "error": health.error,
        "last_tick": health.turned_at,
        "n": reading.as_ref().map(|reading| reading.n),
        "term": reading.as_ref().map(|reading| reading.term),
        "root": reading.as_ref().map(|reading| reading.root),
        "unpublished": streams.iter().filter_map(|s| s.get("unpublished")?.as_i64()).sum::<i64>(),
        "streams": streams,
        "consumers": consumers,
    })
}

fn streams(shared: &Shared, reading: &Reading) -> Vec<Value> {
    let published = shared.published();
    let publishes = shared.bus.transport() != bus::Transport::None;
    reading
        .heads
        .iter()
        .map(|(stream, head)| {
            let mark = published.get(stream).copied().unwrap_or_default();
            let unpublished = if publishes { head.pn.get() - mark.get() } else { 0 };
            json!({
                "stream": stream,
                "head": head.pn,
                "term": head.term,
                "published": publishes.then_some(mark),
                "unpublished": unpublished,
            })
        })
        .collect()
}

/// One entry per consumer, from a row per consumer, topic and stream.
fn consumers(rows: &[Row]) -> Result<Vec<Value>, RelayError> {
    let mut consumers: Vec<Map<String, Value>> = Vec::new();
    for row in rows {
        let name: String = column(row, "consumer")?;
        if consumers.last().and_then(|last| last.get("consumer")) != Some(&json!(name)) {
            let mut consumer = Map::new();
            consumer.insert("consumer".to_owned(), json!(name));
            let seen_at: DateTime<Utc> = column(row, "seen_at")?;
            consumer.insert("seen_at".to_owned(), json!(seen_at));
            consumer.insert("positions".to_owned(), json!([]));
            consumers.push(consumer);
        }
        let Some(stream) = column::<Option<String>>(row, "stream")? else { continue };
        let position = json!({
            "stream": stream,
            "pn": column::<i64>(row, "pn")?.to_string(),
            "term": column::<Uuid>(row, "term")?,
            "confirmed_at": column::<DateTime<Utc>>(row, "confirmed_at")?,
        });
        let positions = consumers.last_mut().and_then(|last| last.get_mut("positions"));
        if let Some(Value::Array(positions)) = positions {
            positions.push(position);
        }
    }
    Ok(consumers.into_iter().map(Value::Object).collect())
}
