//! A copy of a database at one moment, and its return: what an operator does after a disaster.

use anyhow::Context as _;
use tokio_postgres::Client;

use crate::Mesh;

/// A database as it was; the running mesh goes on with the original until it is restored.
#[derive(Debug)]
pub struct Backup {
    database: String,
}

impl Backup {
    /// Copies the database; everybody connected to it is cut off and comes back by himself.
    pub async fn take(mesh: &Mesh, database: &str) -> anyhow::Result<Self> {
        let admin = admin(mesh, database).await?;
        shut(&admin, database).await?;
        admin
            .batch_execute(&format!(
                "create database \"{database}-backup\" template \"{database}\""
            ))
            .await
            .context("copy the database")?;
        open(&admin, database).await?;
        Ok(Self { database: database.to_owned() })
    }

    /// Puts the copy in the place of the database, with the same owner and rights.
    pub async fn restore(self, mesh: &Mesh) -> anyhow::Result<()> {
        let database = &self.database;
        let admin = admin(mesh, database).await?;
        shut(&admin, database).await?;
        for change in [
            format!("alter database \"{database}\" rename to \"{database}-lost\""),
            format!("alter database \"{database}-backup\" rename to \"{database}\""),
            format!(
                "update pg_database as restored set datdba = lost.datdba, datacl = lost.datacl
                   from pg_database as lost
                  where restored.datname = '{database}' and lost.datname = '{database}-lost'"
            ),
        ] {
            admin.batch_execute(&change).await.with_context(|| change.clone())?;
        }
        open(&admin, database).await
    }
}

/// A connection beside the database, to the server's own.
async fn admin(mesh: &Mesh, database: &str) -> anyhow::Result<Client> {
    let url = mesh.database_url(database)?;
    let (server, _) = url.rsplit_once('/').context("a database URL has a path")?;
    testkit::connect(&format!("{server}/postgres")).await
}

async fn shut(admin: &Client, database: &str) -> anyhow::Result<()> {
    admin.batch_execute(&format!("alter database \"{database}\" allow_connections false")).await?;
    let cut = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1";
    admin.query(cut, &[&database]).await?;
    Ok(())
}

async fn open(admin: &Client, database: &str) -> anyhow::Result<()> {
    Ok(admin
        .batch_execute(&format!("alter database \"{database}\" allow_connections true"))
        .await?)
}
