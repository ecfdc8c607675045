//! Answers that are kept and records as they were published; the file that runs their SQL.

use deadpool_postgres::ClientWrapper;
use outbox::Tx;

use crate::{Answer, Error, Once, Published};

const READ_PUBLISHED: &str = include_str!("../queries/read_published.sql");
const LOCK_KEY: &str = include_str!("../queries/lock_key.sql");
const READ_ANSWER: &str = include_str!("../queries/read_answer.sql");
const KEEP_ANSWER: &str = include_str!("../queries/keep_answer.sql");
const PRUNE_ANSWERS: &str = include_str!("../queries/prune_answers.sql");

/// The published state of a record.
pub(crate) async fn read_published(
    client: &ClientWrapper,
    topic: &str,
    key: &str,
) -> Result<Option<Published>, Error> {
    let statement = client.prepare_cached(READ_PUBLISHED).await?;
    let row = client.query_opt(&statement, &[&topic, &key]).await?;
    row.as_ref().map(Published::of).transpose()
}

/// Takes the key for this transaction; false while another one has it.
pub(crate) async fn lock_key(tx: &Tx<'_>, key: &str) -> Result<bool, Error> {
    Ok(tx.query_one(LOCK_KEY, &[&key]).await?.try_get("free")?)
}

/// The request that this key was used for, and its answer.
pub(crate) async fn read_answer(
    tx: &Tx<'_>,
    key: &str,
) -> Result<Option<(Vec<u8>, Answer)>, Error> {
    let Some(row) = tx.query_opt(READ_ANSWER, &[&key]).await? else { return Ok(None) };
    let status: i16 = row.try_get("status")?;
    let answer = Answer {
        status: status.unsigned_abs(),
        etag: row.try_get("etag")?,
        location: row.try_get("location")?,
        waits_for: row.try_get("waits_for")?,
        body: row.try_get("body")?,
    };
    Ok(Some((row.try_get("request")?, answer)))
}

/// Keeps the answer to this request for a day.
pub(crate) async fn keep_answer(tx: &Tx<'_>, once: &Once, answer: &Answer) -> Result<(), Error> {
    let status = i16::try_from(answer.status).expect("a status has three digits");
    let request = once.request.as_bytes().as_slice();
    let Answer { etag, location, waits_for, body, .. } = answer;
    tx.execute(KEEP_ANSWER, &[&once.key, &request, &status, etag, location, waits_for, body])
        .await?;
    Ok(())
}

/// Forgets some of the answers that are older than a day; says how many.
pub(crate) async fn prune_answers(client: &ClientWrapper) -> Result<u64, Error> {
    let statement = client.prepare_cached(PRUNE_ANSWERS).await?;
    Ok(client.execute(&statement, &[]).await?)
}
