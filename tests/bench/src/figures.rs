//! What one run of the benchmark says: the shape of its JSON, which a later run is compared with.
//!
//! Times are milliseconds, rates are per second, costs are per change, unless a name says
//! otherwise.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The version of this shape.
pub const FORMAT: u32 = 1;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// How long it took, in seconds.
    pub took_s: f64,
    /// `quick`, `full` or `long`.
    pub mode: String,
    /// Whether it says anything, and all of it.
    pub state: State,
    /// Why it does not say all; none of a complete run.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where it ran.
    pub machine: Machine,
    /// What ran, by name: commit, rustc, postgres, redis, daprd.
    pub versions: BTreeMap<String, String>,
    /// One row per scenario, lane and round, in the order of the run.
    pub rounds: Vec<Round>,
    /// What was wanted, and what came of it.
    pub targets: Vec<Target>,
}

/// Whether a run says anything, and all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Every scenario has enough clean rounds.
    Complete,
    /// It was broken off; what it says is true, and not all.
    Partial,
    /// The machine stalled: it says no number.
    Invalid,
}

/// The machine of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that the run may use.
    pub cpus: u32,
    /// Their model, as the kernel names it.
    pub cpu: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Median of one `fdatasync` of 8 kB where the databases lie, in milliseconds.
    pub fdatasync_ms: f64,
}

/// One scenario in one lane in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The scenario, for example `steady-1000` or `import`.
    pub scenario: String,
    /// How the changes travelled.
    pub lane: Lane,
    /// Its number, from 1.
    pub number: u32,
    /// Why it does not count; none for a clean one.
    pub discarded: Option<String>,
    /// What the machine could do just before.
    pub limit: Option<Limit>,
    /// The longest time that no thread ran, in milliseconds.
    pub longest_gap_ms: f64,
    /// Speed of a fixed calculation, as share of the best of the run.
    pub calibration: f64,
    /// What was measured.
    pub figures: Figures,
}

/// How changes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    /// Syncline straight on Redis streams.
    Direct,
    /// Syncline through two Dapr sidecars.
    Dapr,
    /// A plain Dapr app the usual way: one message per change, no envelope.
    PlainDapr,
}

impl Lane {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Dapr, Self::PlainDapr];

    /// How a table calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Dapr => "Dapr",
            Self::PlainDapr => "plain",
        }
    }
}

/// What this machine can do with the same client libraries; each per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Durable transactions of one row and its change in one statement, from 8 connections.
    pub commits: f64,
    /// Entries added to a stream, 100 in a pipeline.
    pub added: f64,
    /// Entries read from a stream and acknowledged, 100 at a time.
    pub read: f64,
    /// Rows upserted, 1,000 in a durable statement.
    pub upserted: f64,
    /// What one read within 16 MiB took, in nanoseconds; more while others use the host's caches.
    #[serde(default)]
    pub memory_read_ns: Option<f64>,
}

impl Limit {
    /// The narrowest of them: no pipeline on this machine is faster.
    pub fn narrowest(&self) -> f64 {
        self.commits.min(self.added).min(self.read).min(self.upserted)
    }
}

/// What was measured of one scenario in one lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Changes that the plan asked for, per second; 0 where it asked for as many as go.
    pub offered: f64,
    /// Changes that the source took, of those that count.
    pub changes: u64,
    /// From the first write to the last change applied, changes per second.
    pub applied: f64,
    /// From the moment a change should have been written until it was applied.
    pub scheduled_to_applied: Latency,
    /// From the answer to the writer until the change was applied.
    pub commit_to_applied: Latency,
    /// From the answer to the writer until its cache entry was gone.
    pub commit_to_clean: Latency,
    /// From the answer to the writer until a search found it.
    pub commit_to_found: Latency,
    /// Each step of a change's life, by its name.
    pub steps: BTreeMap<String, Latency>,
    /// Microseconds of processor per change, by process.
    pub cpu_us: BTreeMap<String, f64>,
    /// Memory at the end in MiB, by process.
    pub memory_mib: BTreeMap<String, f64>,
    /// What was used per change, by name: `wal_bytes`, `statements`, `round_trips`, `commits`,
    /// `fsyncs`, `dead_tuples`, `redis_commands`, `dapr_calls`.
    pub per_change: BTreeMap<String, f64>,
    /// Other figures of the scenario, by name with the unit at its end, for example `lag_end_s`.
    pub others: BTreeMap<String, f64>,
    /// Deliveries of what had been applied.
    pub duplicates: u64,
    /// Changes that were never applied.
    pub lost: u64,
    /// Applied versions that were older than one applied before.
    pub out_of_order: u64,
}

/// How long something took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many were measured; the rest says nothing if 0.
    pub count: u64,
    /// Half took at most this.
    pub p50: f64,
    /// 95 in 100 took at most this.
    pub p95: f64,
    /// 99 in 100 took at most this.
    pub p99: f64,
    /// 999 in 1,000 took at most this.
    pub p999: f64,
    /// None took longer.
    pub max: f64,
}

/// One figure that was wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// For example `G2`.
    pub id: String,
    /// What is wanted, in words with its figure.
    pub wanted: String,
    /// What was measured, in words with its figure; none if this mode does not measure it.
    pub measured: Option<String>,
    /// Whether it was met; none if this mode does not measure it.
    pub met: Option<bool>,
    /// What was measured beneath it, where it was not met.
    pub floor: Option<String>,
}
