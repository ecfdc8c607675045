//! A log of every version that a consumer writes, kept by triggers that only tests make.

use anyhow::{Context as _, ensure};
use tokio_postgres::Client;

use crate::Mesh;

/// Where a consumer writes versions: table, its topic or name, its key and its version.
const WRITTEN: [[&str; 4]; 4] = [
    ["inbox.versions", "new.topic", "new.key", "new.version"],
    ["search.product", "'search.product'", "new.key", "new.version"],
    ["search.price", "'search.price'", "new.product", "new.version"],
    ["search.stock", "'search.stock'", "new.product || ' ' || new.location", "new.version"],
];

/// The consumer that keeps versions in rows of its own.
const WITH_ROWS: &str = "search-indexer";

/// The log of one consumer; what it wrote before is not in it.
#[derive(Debug, Clone)]
pub struct Watch {
    consumer: String,
}

impl Watch {
    /// Begins to log what this consumer writes.
    pub async fn begin(mesh: &Mesh, consumer: &str) -> anyhow::Result<Self> {
        let database = mesh.database(consumer).await?;
        database
            .batch_execute(
                "create schema watch;
                 create table watch.log (
                     id bigint generated always as identity primary key,
                     what text not null, key text not null, version bigint not null
                 )",
            )
            .await?;
        for (n, [table, what, key, version]) in WRITTEN.iter().enumerate() {
            // What is watched must be there: a table of another name would be watched in vain.
            if table.starts_with("inbox.") || consumer == WITH_ROWS {
                log(&database, n, [table, what, key, version]).await.context(*table)?;
            }
        }
        Ok(Self { consumer: consumer.to_owned() })
    }

    /// Checks that nothing was written twice and that no version went back; answers how much was
    /// written.
    pub async fn check(&self, mesh: &Mesh) -> anyhow::Result<i64> {
        let database = mesh.database(&self.consumer).await?;
        let twice = "select what, key, version, count(*) as times from watch.log
                      group by what, key, version having count(*) > 1 limit 1";
        if let Some(row) = database.query_opt(twice, &[]).await? {
            let (what, key): (&str, &str) = (row.get("what"), row.get("key"));
            let (version, times): (i64, i64) = (row.get("version"), row.get("times"));
            anyhow::bail!("{}: {what} {key} {version} was written {times} times", self.consumer);
        }
        let back = "select what, key, version, before
                      from (select what, key, version,
                                   lag(version) over (partition by what, key order by id) as before
                              from watch.log) as log
                     where before > version limit 1";
        if let Some(row) = database.query_opt(back, &[]).await? {
            let (what, key): (&str, &str) = (row.get("what"), row.get("key"));
            let (version, before): (i64, i64) = (row.get("version"), row.get("before"));
            anyhow::bail!("{}: {what} {key} went from {before} to {version}", self.consumer);
        }
        let written = database.query_one("select count(*) from watch.log", &[]).await?.get(0);
        ensure!(written > 0, "{}: nothing was written, or nothing noted", self.consumer);
        Ok(written)
    }
}

/// The triggers write as their owner, since the consumer may not.
async fn log(
    database: &Client,
    n: usize,
    [table, what, key, version]: [&str; 4],
) -> anyhow::Result<()> {
    let trigger = format!(
        "create function watch.note_{n}() returns trigger language plpgsql security definer as $$
         begin
             insert into watch.log (what, key, version) values ({what}, {key}, {version});
             return null;
         end $$;
         create trigger watch after insert or update on {table}
             for each row execute function watch.note_{n}()"
    );
    Ok(database.batch_execute(&trigger).await?)
}
