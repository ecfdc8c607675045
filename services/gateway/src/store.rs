//! Rows of schema `gateway`; the only file here that runs SQL.

use deadpool_postgres::{Pool, PoolError};
use uuid::Uuid;

/// The tables of this service, for `migrate`.
pub const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__gateway", include_str!("../migrations/V1__gateway.sql")),
    ("V2__past_namespaces", include_str!("../migrations/V2__past_namespaces.sql")),
];

const READ_NAMESPACE: &str = include_str!("../queries/read_namespace.sql");
const REPLACE_NAMESPACE: &str = include_str!("../queries/replace_namespace.sql");

/// The namespace could not be read or replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There was no connection to be had.
    #[error("take a database connection")]
    Pool(#[from] PoolError),
    /// A statement failed.
    #[error("read or replace the namespace of the cache")]
    Store(#[from] tokio_postgres::Error),
}

/// Under which name views are kept, and for which past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) id: Uuid,
    pub(crate) past: String,
    /// Those before, the newest first.
    pub(crate) past_ids: Vec<Uuid>,
}

/// The present namespace.
pub(crate) async fn read_namespace(pool: &Pool) -> Result<Namespace, Error> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(READ_NAMESPACE).await?;
    let row = client.query_one(&statement, &[]).await?;
    let past_ids = row.try_get("past_ids")?;
    Ok(Namespace { id: row.try_get("id")?, past: row.try_get("past")?, past_ids })
}

/// Draws another one, unless that of this past was replaced meanwhile.
pub(crate) async fn replace_namespace(pool: &Pool, from: &str, to: &str) -> Result<(), Error> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(REPLACE_NAMESPACE).await?;
    client.execute(&statement, &[&from, &to]).await?;
    Ok(())
}
