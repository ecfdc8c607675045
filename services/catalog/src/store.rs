//! Rows to domain and back; the only file that runs SQL.

use contracts::Digest;
use deadpool_postgres::ClientWrapper;
use outbox::Tx;
use service_kit::Etag;
use tokio_postgres::{Row, types::Json};

use crate::{
    domain::{Category, Id, Product},
    error::Error,
    payload::{CATEGORIES, PRODUCTS, attributes},
};

const SAVE_PRODUCT: &str = include_str!("../queries/save_product.sql");
const SAVE_CATEGORY: &str = include_str!("../queries/save_category.sql");
const DELETE_PRODUCT: &str = include_str!("../queries/delete_product.sql");
const DELETE_CATEGORY: &str = include_str!("../queries/delete_category.sql");
const READ_PUBLISHED: &str = include_str!("../queries/read_published.sql");
const LOCK_KEY: &str = include_str!("../queries/lock_key.sql");
const READ_ANSWER: &str = include_str!("../queries/read_answer.sql");
const KEEP_ANSWER: &str = include_str!("../queries/keep_answer.sql");
const PRUNE_ANSWERS: &str = include_str!("../queries/prune_answers.sql");

/// What a write met.
#[derive(Debug)]
pub(crate) struct Before {
    /// Whether the record existed; decided on the locked row.
    pub(crate) existed: bool,
    /// Its published state as the statement began: another write may have come in between, so a
    /// decision on it must be repeated by the append, under its version.
    pub(crate) published: Option<Etag>,
}

/// An answer as it is given, and given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: Option<Vec<u8>>,
}

pub(crate) async fn save_product(tx: &Tx<'_>, product: &Product) -> Result<Before, Error> {
    let categories: Vec<&str> = product.categories.iter().map(Id::as_str).collect();
    let attributes = Json(attributes(product));
    let row = tx
        .query_one(
            SAVE_PRODUCT,
            &[&product.sku.as_str(), &product.name.as_str(), &categories, &attributes, &PRODUCTS],
        )
        .await?;
    before(&row)
}

pub(crate) async fn save_category(tx: &Tx<'_>, category: &Category) -> Result<Before, Error> {
    let parent = category.parent.as_ref().map(Id::as_str);
    let row = tx
        .query_one(
            SAVE_CATEGORY,
            &[&category.id.as_str(), &category.name.as_str(), &parent, &CATEGORIES],
        )
        .await?;
    before(&row)
}

pub(crate) async fn delete_product(tx: &Tx<'_>, sku: &Id) -> Result<Before, Error> {
    before(&tx.query_one(DELETE_PRODUCT, &[&sku.as_str(), &PRODUCTS]).await?)
}

pub(crate) async fn delete_category(tx: &Tx<'_>, id: &Id) -> Result<Before, Error> {
    before(&tx.query_one(DELETE_CATEGORY, &[&id.as_str(), &CATEGORIES]).await?)
}

fn before(row: &Row) -> Result<Before, Error> {
    let (version, digest): (Option<i64>, Option<&str>) =
        (row.try_get("version")?, row.try_get("digest")?);
    let published = version.zip(digest).map(|(version, digest)| Etag::new(version, digest));
    Ok(Before { existed: row.try_get("existed")?, published })
}

/// The published state of a record: its tag and its bytes.
pub(crate) async fn read_published(
    client: &ClientWrapper,
    topic: &str,
    key: &Id,
) -> Result<Option<(Etag, Vec<u8>)>, Error> {
    let statement = client.prepare_cached(READ_PUBLISHED).await?;
    let Some(row) = client.query_opt(&statement, &[&topic, &key.as_str()]).await? else {
        return Ok(None);
    };
    let payload: Vec<u8> = row.try_get("payload")?;
    Ok(Some((Etag::of(row.try_get("version")?, &payload), payload)))
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
        body: row.try_get("body")?,
    };
    Ok(Some((row.try_get("request")?, answer)))
}

/// Keeps the answer to this key for a day.
pub(crate) async fn keep_answer(
    tx: &Tx<'_>,
    key: &str,
    request: &Digest,
    answer: &Answer,
) -> Result<(), Error> {
    let status = i16::try_from(answer.status).expect("a status has three digits");
    let request = request.as_bytes().as_slice();
    tx.execute(KEEP_ANSWER, &[&key, &request, &status, &answer.etag, &answer.body]).await?;
    Ok(())
}

/// Forgets some of the answers that are older than a day; says how many.
pub(crate) async fn prune_answers(client: &ClientWrapper) -> Result<u64, Error> {
    let statement = client.prepare_cached(PRUNE_ANSWERS).await?;
    Ok(client.execute(&statement, &[]).await?)
}
