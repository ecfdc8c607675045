//! Migrations: forward only, one schema and one journal table per owner of tables.

use refinery::{Migration, Runner};
use tokio_postgres::Client;

use crate::{BoxError, Error};

const LOCK: &str = include_str!("../queries/lock_migrations.sql");
const NAME_SCHEMA: &str = include_str!("../queries/name_schema.sql");
const CREATE_SCHEMA: &str = include_str!("../queries/create_schema.sql");
const UNLOCK: &str = include_str!("../queries/unlock_migrations.sql");

/// Brings `schema` up to date, creating it first, and says how many migrations were applied.
///
/// Each migration is (name such as `V1__create_tables`, SQL) and runs in a transaction of its own.
/// What was applied stands in `<schema>.migration`; a migration that was edited after that is
/// refused. One that only a newer program knows is accepted: tables only grow, and going back to
/// the program before must stay possible. Replicas that migrate together wait for each other.
pub async fn migrate(
    client: &mut Client,
    schema: &str,
    migrations: &[(&str, &str)],
) -> Result<usize, Error> {
    client.execute(LOCK, &[]).await?;
    let outcome = apply(client, schema, migrations).await;
    let unlocked = client.execute(UNLOCK, &[]).await;
    let applied = outcome.map_err(|source| Error::Migrate { schema: schema.to_owned(), source })?;
    unlocked?;
    tracing::info!(schema, applied, "schema {schema} is up to date, {applied} migrations applied");
    Ok(applied)
}

async fn apply(
    client: &mut Client,
    schema: &str,
    migrations: &[(&str, &str)],
) -> Result<usize, BoxError> {
    let fits = schema.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit());
    if !fits || schema.is_empty() {
        return Err(format!("schema name {schema:?} is not made of a-z, 0-9 and _").into());
    }
    let migrations = migrations
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()?;
    client.execute(NAME_SCHEMA, &[&schema]).await?;
    client.execute(CREATE_SCHEMA, &[]).await?;
    let mut runner = Runner::new(&migrations).set_abort_divergent(true).set_abort_missing(false);
    runner.set_migration_table_name(format!("{schema}.migration"));
    Ok(runner.run_async(client).await?.applied_migrations().len())
}
