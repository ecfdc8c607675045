//! The compacted stream, page by page, with the heads that a reader must have reached.

use std::sync::Arc;

use tokio_postgres::Row;

use contracts::calls::{Position, SnapshotResponse, SnapshotRow};
use contracts::{Key, Topic};

use super::RelayError;
use super::feed::{ANSWER_BYTES_MAX, embed, version};
use super::shared::Shared;
use super::store::{Room, column, parsed};

/// Most rows of one page.
const ROWS_MAX: i64 = 5_000;

/// A page behind a key, or from the beginning.
pub(super) async fn page(
    shared: &Arc<Shared>,
    topic: &Topic,
    after: Option<&Key>,
    rows_max: i64,
) -> Result<SnapshotResponse, RelayError> {
    let room = Room { rows_max: rows_max.clamp(1, ROWS_MAX), bytes_max: ANSWER_BYTES_MAX };
    let after = after.map_or("", Key::as_str);
    let found = shared.store.page(topic, after, room).await?;
    let ahead: i64 = found.first().map_or(Ok(0), |row| column(row, "ahead"))?;
    let rows = rows(&found)?;
    let more = ahead > i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let next = rows.last().filter(|_| more).map(|row| row.key.clone());
    answer(shared, topic, rows, next).await
}

/// One entity, or no row if it never existed.
pub(super) async fn single(
    shared: &Arc<Shared>,
    topic: &Topic,
    key: &Key,
) -> Result<SnapshotResponse, RelayError> {
    let found = shared.store.single(topic, key).await?;
    let rows = rows(&found)?;
    answer(shared, topic, rows, None).await
}

/// Adds the heads of a tick that begins after the read, so whose snapshot includes it: rows of a
/// commit that was never numbered are applied by nobody, since no position ever reaches them.
async fn answer(
    shared: &Arc<Shared>,
    topic: &Topic,
    rows: Vec<SnapshotRow>,
    next: Option<Key>,
) -> Result<SnapshotResponse, RelayError> {
    let reading = shared.reading().await?;
    let heads = reading
        .heads
        .iter()
        .filter(|(_, head)| head.topic == *topic)
        .map(|(stream, head)| Position { stream: stream.clone(), pn: head.pn, term: head.term })
        .collect();
    Ok(SnapshotResponse { rows, next, heads, root: reading.root })
}

/// The rows found; a statement that found none still answers one row without a key.
fn rows(found: &[Row]) -> Result<Vec<SnapshotRow>, RelayError> {
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        if column::<Option<&str>>(row, "key")?.is_none() {
            continue;
        }
        let payload: Option<Vec<u8>> = column(row, "payload")?;
        rows.push(SnapshotRow {
            key: parsed(row, "key", Key::parse)?,
            version: version(row)?,
            deleted: column(row, "deleted")?,
            payload: payload.map(embed).transpose()?,
        });
    }
    Ok(rows)
}
