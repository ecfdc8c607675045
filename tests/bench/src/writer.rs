//! The writer: sends what the workload asks for, when it asks for it, whatever comes back.
//!
//! Open loop: an arrival whose turn has come is written even if all before it still wait; none is
//! ever dropped, and its latency counts from the time at which it should have been written. The
//! closed loop of a flood writes the next one as soon as one is answered.
#![expect(clippy::print_stdout, reason = "it says that it is ready by printing")]

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use crate::clock::Moment;
use crate::ops::{Op, Outcome};
use crate::source::Source;
use crate::workload::{Arrival, Arrivals, Keys, Kind, MANY};

/// Writes at one time in a closed loop.
pub const WRITERS: usize = 16;
/// Connections of an open loop: those that wait for a busy product must not keep others out.
pub const CONNECTIONS: usize = 48;

/// What to write, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// The owner's database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: secrecy::SecretString,
    /// The sidecar of the plain app's producer, which is written to in catalog's place.
    #[arg(long, env = "PLAIN_GRPC_PORT")]
    pub plain: Option<u16>,
    /// Changes per second; 0 writes as many as go.
    #[arg(long)]
    pub rate: f64,
    /// Seconds of arrivals that do not count, before it says that it is ready.
    #[arg(long, default_value_t = 0.0)]
    pub warm: f64,
    /// Seconds of arrivals that count, once it is told to go.
    #[arg(long)]
    pub seconds: f64,
    /// Products to write among.
    #[arg(long)]
    pub keys: u32,
    /// What everything is drawn from.
    #[arg(long)]
    pub seed: u64,
    /// The number of the first change.
    #[arg(long)]
    pub first: u64,
    /// Where the log goes.
    #[arg(long)]
    pub out: PathBuf,
}

/// Runs the writer to its end.
pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    let level = tracing_subscriber::filter::LevelFilter::WARN;
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    let source = Arc::new(Source::connect(settings)?);
    let keys = Keys::among(settings.keys);
    // Connections are there before the first arrival, as they are in a service that runs.
    source.warm(CONNECTIONS).await?;
    let cold = Stretch { seconds: settings.warm, seed: settings.seed ^ 1, first: settings.first };
    let warmed = stretch(&source, &keys, settings.rate, &cold).await;
    let first = settings.first + u64::try_from(warmed.len())?;
    println!("{first}");
    let mut word = String::new();
    std::io::stdin().read_line(&mut word).context("waiting for the word to go")?;
    let measured = Stretch { seconds: settings.seconds, seed: settings.seed, first };
    save(settings, &stretch(&source, &keys, settings.rate, &measured).await)
}

/// Some seconds of writing.
struct Stretch {
    seconds: f64,
    seed: u64,
    first: u64,
}

async fn stretch(source: &Arc<Source>, keys: &Keys, rate: f64, stretch: &Stretch) -> Vec<Op> {
    if rate > 0.0 {
        let arrivals = Arrivals::new(stretch.seed, keys.clone(), rate, stretch.first);
        let end = Duration::from_secs_f64(stretch.seconds);
        open_loop(source, arrivals, end, stretch.seed).await
    } else {
        closed_loop(source, keys, stretch).await
    }
}

/// Every arrival at its time.
async fn open_loop(
    source: &Arc<Source>,
    mut arrivals: Arrivals,
    end: Duration,
    seed: u64,
) -> Vec<Op> {
    let keys = arrivals.keys().clone();
    let mut random = StdRng::seed_from_u64(seed ^ 0x5eed);
    let start = Moment::now().plus(Duration::from_millis(100));
    let mut writes = JoinSet::new();
    let mut ops = Vec::new();
    let mut next = arrivals.next();
    while let Some(arrival) = next.filter(|arrival| arrival.at < end) {
        let due = start.plus(arrival.at);
        let early = due.since(Moment::now());
        if !early.is_zero() {
            // Answers are taken in while there is time.
            tokio::select! {
                () = sleep(early) => {}
                Some(done) = writes.join_next() => ops.extend(written(done)),
            }
            continue;
        }
        let many = if arrival.kind == Kind::Many {
            keys.many(arrival.key, &mut random)
        } else {
            vec![arrival.key]
        };
        let source = Arc::clone(source);
        writes.spawn(async move { write(&source, arrival, many, due).await });
        next = arrivals.next();
    }
    while let Some(done) = writes.join_next().await {
        ops.extend(written(done));
    }
    ops
}

/// What one write came to; one that panicked would be missing from every figure.
fn written(done: Result<Vec<Op>, JoinError>) -> Vec<Op> {
    match done {
        Ok(ops) => ops,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// As many as go: each of the writers sends its next when its last was answered.
async fn closed_loop(source: &Arc<Source>, keys: &Keys, stretch: &Stretch) -> Vec<Op> {
    let end = Moment::now().plus(Duration::from_secs_f64(stretch.seconds));
    let seq = Arc::new(AtomicU64::new(stretch.first));
    let mut writers = JoinSet::new();
    for number in 0..WRITERS as u64 {
        let (source, seq, keys) = (Arc::clone(source), Arc::clone(&seq), keys.clone());
        let mut random = StdRng::seed_from_u64(stretch.seed ^ number);
        // Only what they do is taken from the arrivals, not when.
        let mut kinds = Arrivals::new(stretch.seed ^ number, keys.clone(), 1.0, 0);
        writers.spawn(async move {
            let mut ops = Vec::new();
            while let Some(drawn) = kinds.next().filter(|_| Moment::now() < end) {
                let width = if drawn.kind == Kind::Many { u64::from(MANY) } else { 1 };
                let arrival = Arrival { seq: seq.fetch_add(width, Ordering::Relaxed), ..drawn };
                let many = match arrival.kind {
                    Kind::Many => keys.many(arrival.key, &mut random),
                    _ => vec![arrival.key],
                };
                ops.extend(write(&source, arrival, many, Moment::now()).await);
            }
            ops
        });
    }
    writers.join_all().await.into_iter().flatten().collect()
}

async fn write(source: &Source, arrival: Arrival, keys: Vec<u32>, due: Moment) -> Vec<Op> {
    let began = Moment::now();
    let written = source.write(arrival.kind, arrival.seq, &keys).await;
    let answered = Moment::now();
    let (outcome, committed) = match written {
        // What consumers must refuse is no change that could be waited for.
        Ok((Outcome::Put, _)) if arrival.kind == Kind::Invalid => (Outcome::Refused, answered),
        Ok((outcome, committed)) => (outcome, committed.unwrap_or(answered)),
        Err(error) => {
            tracing::warn!(seq = arrival.seq, error = format!("{error:#}"), "a write failed");
            (Outcome::Failed, answered)
        }
    };
    let op = |(seq, key)| Op { seq, key, outcome, scheduled: due, began, committed, answered };
    (arrival.seq..).zip(keys).map(op).collect()
}

fn save(settings: &Settings, ops: &[Op]) -> anyhow::Result<()> {
    let file = std::fs::File::create(&settings.out)
        .with_context(|| format!("making {}", settings.out.display()))?;
    let mut out = std::io::BufWriter::new(file);
    for op in ops {
        writeln!(out, "{op}")?;
    }
    out.flush().context("writing the log of the writes")
}
