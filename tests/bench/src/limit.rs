//! What this machine can do with the client libraries that Syncline uses: the measure of a round.
//!
//! Five probes run one after another, each alone, with everything as a good pipeline would have it:
//! one statement for a change, a hundred entries in a pipeline, a thousand rows in a statement, and
//! every commit durable; the last reads memory. They have a database and a stream of their own, so
//! that they neither need nor disturb anything of the run; the database stays for the next round,
//! emptied of its changes.

mod rows;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, Statement};

use crate::figures::Limit;
use crate::stall::Memory;

use self::rows::Rows;

const CHANGE: &str = include_str!("../queries/limit_change.sql");
const FILL_COPY: &str = include_str!("../queries/limit_fill_copy.sql");
const FILL_SOURCE: &str = include_str!("../queries/limit_fill_source.sql");
const FORGET: &str = include_str!("../queries/limit_forget.sql");
const MIGRATION: &str = include_str!("../migrations/V3__limit.sql");
const UPSERT: &str = include_str!("../queries/limit_upsert.sql");

const DATABASE: &str = "bench_limit";
/// Connections that write changes at once.
const WRITERS: usize = 8;
/// Rows of the source: so many that writers seldom meet at one.
const SOURCE_ROWS: i32 = 10_000;
/// What a change carries, in bytes.
const PAYLOAD_BYTES: usize = 500;

/// The servers to probe, and for how long.
#[derive(Debug, Clone)]
pub struct Place {
    /// A PostgreSQL, as a user who may create a database.
    pub database_url: SecretString,
    /// The Redis for streams.
    pub redis_url: SecretString,
    /// How long each probe of a server takes; there are four.
    pub probe: Duration,
}

/// Probes each server alone, and answers what it can do in a second.
pub async fn measure(place: &Place) -> anyhow::Result<Limit> {
    let pool = prepare(&place.database_url).await.context("prepare the probes' database")?;
    let commits = commits(&pool, place.probe).await.context("probe commits")?;
    let (added, read) = stream::probe(&place.redis_url, place.probe).await?;
    let upserted = upserts(&pool, place.probe).await.context("probe upserts")?;
    clean(&pool).await.context("clean up behind the probes")?;
    let memory_read_ns = Some(Memory::lay_out().read_ns()?);
    Ok(Limit { commits, added, read, upserted, memory_read_ns })
}

/// Connections to the probes' database, which is made and filled if it is not there.
async fn prepare(url: &SecretString) -> anyhow::Result<Pool> {
    let mut config: tokio_postgres::Config =
        url.expose_secret().parse().context("read the database's URL")?;
    let create = format!("create database {DATABASE}");
    let created = pool(&config)?.get().await?.batch_execute(&create).await;
    unless(created, &SqlState::DUPLICATE_DATABASE)?;
    config.dbname(DATABASE).application_name("bench-limit");
    let pool = pool(&config)?;
    let mut client = pool.get().await?;
    // All or nothing: a schema that is there is filled.
    let transaction = client.transaction().await?;
    let created = transaction.batch_execute("create schema limits").await;
    if unless(created, &SqlState::DUPLICATE_SCHEMA)? {
        transaction.batch_execute(MIGRATION).await.context("make the tables")?;
        transaction.execute(FILL_SOURCE, &[&SOURCE_ROWS]).await.context("fill the source")?;
        transaction.execute(FILL_COPY, &[&rows::KEYS]).await.context("fill the copy")?;
        transaction.commit().await?;
        clean(&pool).await?;
    }
    Ok(pool)
}

/// Whether it was done; not if it failed in this way, because it had been done before.
fn unless(done: Result<(), tokio_postgres::Error>, known: &SqlState) -> anyhow::Result<bool> {
    match done {
        Err(error) if error.code() == Some(known) => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

fn pool(config: &tokio_postgres::Config) -> anyhow::Result<Pool> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config.clone(), NoTls, recycling);
    Ok(Pool::builder(manager).max_size(WRITERS).build()?)
}

/// Leaves nothing for the server to do while others are measured. The checkpoint comes before a
/// lane's data are made: right before a load, each page's first change would be logged with all of
/// the page.
async fn clean(pool: &Pool) -> anyhow::Result<()> {
    let client = pool.get().await?;
    for statement in [FORGET, "vacuum limits.source", "vacuum limits.copy", "checkpoint"] {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

/// Durable transactions per second, of writers that each wait for their commit.
async fn commits(pool: &Pool, probe: Duration) -> anyhow::Result<f64> {
    let ready = Arc::new(Barrier::new(WRITERS));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (pool, ready) = (pool.clone(), Arc::clone(&ready));
        writers.spawn(async move {
            let client = pool.get().await;
            let statement = match &client {
                Ok(client) => Some(client.prepare_cached(CHANGE).await),
                Err(_) => None,
            };
            // Who failed comes too, or the others would wait for ever.
            ready.wait().await;
            let (client, statement) = (client?, statement.context("no connection")??);
            write_changes(&client, &statement, probe).await
        });
    }
    let mut rate = 0.0;
    while let Some(ended) = writers.join_next().await {
        rate += ended.context("a writer died")??;
    }
    Ok(rate)
}

/// One writer's transactions per second.
async fn write_changes(
    client: &Client,
    statement: &Statement,
    probe: Duration,
) -> anyhow::Result<f64> {
    let payload = "p".repeat(PAYLOAD_BYTES);
    let mut pace = Pace::start(probe);
    while pace.goes_on() {
        let row = rand::random_range(1..=SOURCE_ROWS);
        let written = client.execute(statement, &[&row, &payload]).await?;
        pace.count(written);
    }
    Ok(pace.rate())
}

/// Rows per second that one connection replaces, in durable statements of a thousand.
async fn upserts(pool: &Pool, probe: Duration) -> anyhow::Result<f64> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(UPSERT).await?;
    let mut batches = Rows::all();
    let mut pace = Pace::start(probe);
    for batch in (0..batches.len()).cycle() {
        if !pace.goes_on() {
            break;
        }
        let rows = batches.get_mut(batch).context("no batch")?;
        rows.renew();
        let replaced = client.execute(&statement, &rows.parameters()).await?;
        anyhow::ensure!(replaced == rows.count(), "only {replaced} rows were replaced");
        pace.count(replaced);
    }
    Ok(pace.rate())
}

/// Counts what is done until a time is over.
struct Pace {
    began: Instant,
    probe: Duration,
    done: u64,
}

impl Pace {
    fn start(probe: Duration) -> Self {
        Self { began: Instant::now(), probe, done: 0 }
    }

    fn goes_on(&self) -> bool {
        self.began.elapsed() < self.probe
    }

    fn count(&mut self, more: u64) {
        self.done += more;
    }

    /// Per second, of the time until now: what was begun in time counts, and so does its end.
    fn rate(&self) -> f64 {
        self.done as f64 / self.began.elapsed().as_secs_f64().max(1e-9)
    }
}
