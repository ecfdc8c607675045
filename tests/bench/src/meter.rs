//! What a scenario uses: processor time and memory of each process, and the servers' own counters.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use testkit::{Database, connect};
use tokio_postgres::Client;

use crate::figures::Figures;
use crate::place::Place;
use crate::proc;

const SERVER: &str = include_str!("../queries/server_counters.sql");
const COUNT_STATEMENTS: &str = include_str!("../migrations/V4__statements.sql");
const STATEMENTS: &str = include_str!("../queries/statements.sql");
/// The process that serves a session.
pub(crate) const BACKEND: &str = include_str!("../queries/backend.sql");
const TUPLES: &str = include_str!("../queries/tuples.sql");

/// Readings of all counters at one moment.
#[derive(Debug)]
struct Reading {
    cpu: BTreeMap<&'static str, Duration>,
    counters: BTreeMap<&'static str, f64>,
}

/// Counts from its start on.
#[derive(Debug)]
pub struct Meter {
    admin: Client,
    source: Client,
    copy: Client,
    redis: [redis::aio::MultiplexedConnection; 2],
    pids: Vec<(&'static str, u32)>,
    before: Reading,
}

impl Meter {
    /// Reads everything once.
    pub async fn start(
        place: &Place,
        (source, copy): (&Database, &Database),
        mut pids: Vec<(&'static str, u32)>,
    ) -> anyhow::Result<Self> {
        let admin = connect(place.database_url.expose_secret()).await?;
        // A server without it counts no statements, and all else.
        let _ = admin.batch_execute(COUNT_STATEMENTS).await;
        let (source, copy) = (source.connect().await?, copy.connect().await?);
        let redis = [redis(&place.redis_url).await?, redis(&place.cache_url).await?];
        pids.extend(servers(place).await?);
        let before = Reading { cpu: BTreeMap::new(), counters: BTreeMap::new() };
        let mut meter = Self { admin, source, copy, redis, pids, before };
        meter.before = meter.read().await?;
        Ok(meter)
    }

    /// Reads everything once more: what comes later does not count.
    pub async fn stop(mut self) -> anyhow::Result<Used> {
        let after = self.read().await?;
        let memory = self.pids.iter().map(|(name, pid)| (*name, proc::memory(*pid)));
        let memory = memory.collect();
        Ok(Used { before: self.before, after, memory })
    }
}

/// What was used between two readings.
#[derive(Debug)]
pub struct Used {
    before: Reading,
    after: Reading,
    memory: BTreeMap<&'static str, u64>,
}

impl Used {
    /// Adds it to the figures, per change.
    pub fn add(self, figures: &mut Figures) {
        let changes = u32::try_from(figures.changes.max(1)).map_or(f64::MAX, f64::from);
        for (name, cpu) in self.after.cpu {
            let before = self.before.cpu.get(name).copied().unwrap_or_default();
            let used = cpu.saturating_sub(before).as_secs_f64() * 1e6;
            figures.cpu_us.insert(name.to_owned(), used / changes);
        }
        for (name, bytes) in self.memory {
            let mib = u32::try_from(bytes >> 20).map_or(0.0, f64::from);
            figures.memory_mib.insert(name.to_owned(), mib);
        }
        for (name, value) in self.after.counters {
            let before = self.before.counters.get(name).copied().unwrap_or_default();
            figures.per_change.insert(name.to_owned(), (value - before) / changes);
        }
    }
}

impl Meter {
    async fn read(&mut self) -> anyhow::Result<Reading> {
        let mut counters = BTreeMap::new();
        let row = self.admin.query_one(SERVER, &[]).await?;
        for name in ["wal_bytes", "fsyncs", "commits"] {
            counters.insert(name, row.try_get::<_, f64>(name)?);
        }
        // Only where the server was started with the extension.
        if let Ok(row) = self.admin.query_one(STATEMENTS, &[]).await {
            counters.insert("statements", row.try_get("statements")?);
        }
        let (mut dead, mut slots) = (0.0, 0.0);
        for client in [&self.source, &self.copy] {
            let row = client.query_one(TUPLES, &[]).await?;
            dead += row.try_get::<_, f64>("dead")?;
            slots += row.try_get::<_, f64>("slots")?;
        }
        counters.extend([("dead_tuples", dead), ("dead_tuples_in_slots", slots)]);
        let mut commands = 0.0;
        for connection in &mut self.redis {
            commands += info(connection, "total_commands_processed").await?;
        }
        counters.insert("redis_commands", commands);
        if self.pids.iter().any(|(name, _)| name.ends_with("-daprd")) {
            // A sidecar is called once to add an entry, and calls once for each that it confirms.
            let [streams, _] = &mut self.redis;
            let calls = calls(streams, "xadd").await? + calls(streams, "xack").await?;
            counters.insert("dapr_calls", calls);
        }
        let cpu = self.pids.iter().map(|(name, pid)| (*name, proc::cpu(*pid))).collect();
        Ok(Reading { cpu, counters })
    }
}

async fn redis(url: &secrecy::SecretString) -> anyhow::Result<redis::aio::MultiplexedConnection> {
    let client = redis::Client::open(url.expose_secret())?;
    Ok(client.get_multiplexed_async_connection().await?)
}

/// The servers' processes by the names under which their costs are reported.
pub async fn servers(place: &Place) -> anyhow::Result<[(&'static str, u32); 3]> {
    let admin = connect(place.database_url.expose_secret()).await?;
    let mut pids = [("postgres", postmaster(&admin).await?), ("redis", 0), ("cache", 0)];
    for ((_, pid), url) in pids.iter_mut().skip(1).zip([&place.redis_url, &place.cache_url]) {
        let number = info(&mut redis(url).await?, "process_id").await?;
        *pid = number.to_string().parse().context("a pid")?;
    }
    Ok(pids)
}

/// One number of what Redis says of itself.
async fn info(
    connection: &mut redis::aio::MultiplexedConnection,
    name: &str,
) -> anyhow::Result<f64> {
    let text: String = redis::cmd("INFO").query_async(connection).await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.with_context(|| format!("INFO has no {name}"))?.trim().parse().context("a number")
}

/// How often a Redis was given this command.
async fn calls(
    connection: &mut redis::aio::MultiplexedConnection,
    command: &str,
) -> anyhow::Result<f64> {
    let text: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await?;
    let prefix = format!("cmdstat_{command}:calls=");
    let count = text.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next());
    count.map_or(Ok(0.0), |count| count.parse().context("a count of calls"))
}

/// The process above all of PostgreSQL's.
async fn postmaster(admin: &Client) -> anyhow::Result<u32> {
    let row = admin.query_one(BACKEND, &[]).await?;
    let pid: i32 = row.try_get("pid")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    // Its number may be one of another machine's, as a container is: then it means somebody else.
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
    anyhow::ensure!(name.trim() == "postgres", "PostgreSQL's processes are not seen from here");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.context("a backend has a parent")?.trim().parse().context("a pid")
}
