//! A PostgreSQL database of a test's own, dropped with it.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::{Manager, Pool};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::Servers;

/// A new, empty database; dropped when this value is.
#[derive(Debug)]
pub struct Database {
    name: String,
    admin_url: String,
    config: tokio_postgres::Config,
}

impl Database {
    /// Creates a database whose name begins with `label`, and the two group roles.
    pub async fn create(label: &str) -> anyhow::Result<Self> {
        let servers = Servers::from_env()?;
        let name = format!("{label}-{}", Uuid::new_v4().simple());
        let admin = connect(&servers.database_url).await?;
        admin.batch_execute(GROUP_ROLES).await.context("create the group roles")?;
        admin.batch_execute(&format!("create database \"{name}\"")).await?;
        let mut config = tokio_postgres::Config::from_str(&servers.database_url)?;
        config.dbname(&name);
        Ok(Self { name, admin_url: servers.database_url, config })
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, as superuser.
    pub fn url(&self) -> String {
        let (server, _) = self.admin_url.rsplit_once('/').unwrap_or((&self.admin_url, ""));
        format!("{server}/{}", self.name)
    }

    /// A connection of its own, driven until the client is dropped.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        connect_with(&self.config).await
    }

    /// A pool of connections.
    pub fn pool(&self, connections_max: usize) -> anyhow::Result<Pool> {
        let manager = Manager::new(self.config.clone(), NoTls);
        Ok(Pool::builder(manager).max_size(connections_max).build()?)
    }

    /// Creates the schema and runs the migrations in order.
    pub async fn migrate(&self, schema: &str, migrations: &[(&str, &str)]) -> anyhow::Result<()> {
        let client = self.connect().await?;
        client.batch_execute(&format!("create schema if not exists {schema}")).await?;
        for (name, sql) in migrations {
            client.batch_execute(sql).await.with_context(|| format!("run migration {name}"))?;
        }
        Ok(())
    }
}

/// A connection to this URL, driven until the client is dropped.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    connect_with(&tokio_postgres::Config::from_str(url)?).await
}

async fn connect_with(config: &tokio_postgres::Config) -> anyhow::Result<Client> {
    let (client, connection) = config.connect(NoTls).await.context("connect to PostgreSQL")?;
    #[expect(clippy::disallowed_methods, reason = "ends by itself when the client is dropped")]
    tokio::spawn(connection);
    Ok(client)
}

/// Several tests may start at once, and `create role` has no `if not exists`.
const GROUP_ROLES: &str = "
    do $$
    declare role text;
    begin
        perform pg_advisory_xact_lock(7264);
        foreach role in array array['syncline_service', 'syncline_relay'] loop
            if not exists (select from pg_roles where rolname = role) then
                execute format('create role %I', role);
            end if;
        end loop;
    end $$";

impl Drop for Database {
    /// Drops the database from a thread of its own, since a test's runtime may be ending.
    fn drop(&mut self) {
        let (url, name) = (self.admin_url.clone(), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let admin = connect(&url).await?;
                let drop = format!("drop database if exists \"{name}\" with (force)");
                tokio::time::timeout(Duration::from_secs(30), admin.batch_execute(&drop)).await??;
                anyhow::Ok(())
            })
        });
        let outcome = dropping.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread died")));
        if let Err(error) = outcome {
            #[expect(clippy::print_stderr, reason = "a test may not panic while it ends")]
            {
                eprintln!("database {} was not dropped: {error:#}", self.name);
            }
        }
    }
}
