//! The scenarios of one lane of Syncline: what is asked of it, and what came of it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use crate::clock::Moment;
use crate::figures::Figures;
use crate::lane::{Running, Syncline};
use crate::measure::{Notes, Numbered, join};
use crate::meter::Meter;
use crate::ops;
use crate::place::Place;
use crate::process::{Process, command};
use crate::workload::{Kind, body};

const NUMBERED: &str = include_str!("../queries/numbered.sql");
const COUNTS: &str = include_str!("../queries/counts.sql");

/// How long everything may take to be applied after the last write.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);

/// Writes of an open loop, or of a closed one where the rate is 0.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Changes per second.
    pub rate: f64,
    /// Seconds that are not measured, and those that are.
    pub seconds: (f64, f64),
    /// What it is drawn from.
    pub seed: u64,
}

/// Runs a load against a lane that runs, and measures it.
pub async fn load(
    place: &Place,
    lane: &mut Syncline,
    running: &mut Running,
    load: &Load,
) -> anyhow::Result<Figures> {
    let (warm, measured) = load.seconds;
    if warm > 0.0 {
        write(place, lane, &Load { seconds: (0.0, warm), seed: load.seed ^ 1, ..*load }).await?;
        lane.drain(DRAIN_LIMIT).await?;
    }
    take_notes(running).await?;
    let after = lane.head().await?;
    let counts = Counts::read(lane).await?;
    let meter = Meter::start(place, lane, running.pids()).await?;
    let writer = start_writer(place, lane, load)?;
    let pid = writer.1.pid();
    let usage = async {
        // A process that has ended says nothing any more.
        let mut last = crate::proc::Usage::default();
        loop {
            let now = pid.map(crate::proc::usage).unwrap_or_default();
            if now.cpu >= last.cpu && now.memory > 0 {
                last = now;
            }
            tokio::select! {
                () = sleep(Duration::from_millis(100)) => {}
            }
            if pid.is_none_or(|pid| !Path::new(&format!("/proc/{pid}/stat")).exists()) {
                return last;
            }
        }
    };
    let (out, process) = (writer.0.clone(), writer.1);
    let finishing = process.finish();
    let (finished, usage) = tokio::join!(finishing, usage);
    finished?;
    let lag_at_end = lane.head().await? - lane.position().await?;
    let drained = lane.drain(DRAIN_LIMIT).await?;
    running.check()?;
    sleep(Duration::from_millis(400)).await; // the cache follows a moment later
    let ops = read_ops(&out)?;
    lane.next += u64::try_from(ops.len())?;
    let numbered = numbered(lane, after).await?;
    let notes = take_notes(running).await?;
    let mut figures = join(&ops, &numbered, &notes)?;
    figures.offered = load.rate;
    meter.finish(&mut figures).await?;
    let changes = u32::try_from(figures.changes.max(1)).map_or(f64::MAX, f64::from);
    figures.cpu_us.insert("writer".to_owned(), usage.cpu.as_secs_f64() * 1e6 / changes);
    figures.memory_mib.insert("writer".to_owned(), (usage.memory >> 20) as f64);
    counts.since(lane, &mut figures).await?;
    let others = &mut figures.others;
    others.insert("lag_end_changes".to_owned(), lag_at_end as f64);
    others.insert("drain_s".to_owned(), drained.as_secs_f64());
    others.insert("written_per_s".to_owned(), f64::from(changes) / measured);
    envelopes(&numbered, &notes, &mut figures);
    Ok(figures)
}

/// How the changes travelled together.
fn envelopes(numbered: &[Numbered], notes: &Notes, figures: &mut Figures) {
    let mut sealed: Vec<_> = numbered.iter().map(|change| change.sealed).collect();
    sealed.sort_unstable();
    sealed.dedup();
    let per = |count: usize| {
        if count == 0 { 0.0 } else { numbered.len() as f64 / count as f64 }
    };
    figures.others.insert("changes_per_tick".to_owned(), per(sealed.len()));
    figures.others.insert("changes_per_commit".to_owned(), per(notes.moved.len()));
}

/// Counters of the copy that only grow.
struct Counts {
    duplicates: i64,
    regressed: i64,
}

impl Counts {
    async fn read(lane: &Syncline) -> anyhow::Result<Self> {
        let row = lane.copy.connect().await?.query_one(COUNTS, &[]).await?;
        Ok(Self { duplicates: row.try_get("duplicates")?, regressed: row.try_get("regressed")? })
    }

    async fn since(&self, lane: &Syncline, figures: &mut Figures) -> anyhow::Result<()> {
        let now = Self::read(lane).await?;
        figures.duplicates = u64::try_from(now.duplicates - self.duplicates)?;
        figures.out_of_order = u64::try_from(now.regressed - self.regressed)?;
        Ok(())
    }
}

/// Writes without measuring.
pub async fn write(place: &Place, lane: &mut Syncline, load: &Load) -> anyhow::Result<()> {
    let (out, process) = start_writer(place, lane, load)?;
    process.finish().await?;
    lane.next += u64::try_from(read_ops(&out)?.len())?;
    Ok(())
}

fn start_writer(
    place: &Place,
    lane: &Syncline,
    load: &Load,
) -> anyhow::Result<(std::path::PathBuf, Process)> {
    let out = lane.folder().join("ops.txt");
    let mut command = command(&std::env::current_exe()?);
    command
        .arg("writer")
        .args(["--rate", &load.rate.to_string()])
        .args(["--seconds", &load.seconds.1.to_string()])
        .args(["--keys", &lane.keys.to_string()])
        .args(["--seed", &load.seed.to_string()])
        .args(["--first", &lane.next.to_string()])
        .arg("--out")
        .arg(&out)
        .env("DATABASE_URL", lane.source.url());
    let _ = place;
    Ok((out, Process::start("writer", command, lane.folder())?))
}

fn read_ops(out: &Path) -> anyhow::Result<Vec<ops::Op>> {
    let text = std::fs::read_to_string(out).context("reading what was written")?;
    ops::read(&text)
}

/// Everything that the consumer noted since the last time.
async fn take_notes(running: &Running) -> anyhow::Result<Notes> {
    let consumer = running.consumer.as_ref().context("the consumer is away")?;
    let url = format!("http://127.0.0.1:{}/bench/notes", consumer.port);
    let text = reqwest::get(url).await?.error_for_status()?.text().await?;
    Notes::read(&text, Syncline::stream().as_str())
}

/// What the source numbered after a number.
async fn numbered(lane: &Syncline, after: i64) -> anyhow::Result<Vec<Numbered>> {
    let source = lane.source.connect().await?;
    // Both clocks are this machine's: what one is ahead of the other holds for a run.
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let ahead = i64::try_from(wall.as_micros())? - i64::try_from(Moment::now().0)?;
    let rows = source.query(NUMBERED, &[&Syncline::stream().as_str(), &after]).await?;
    let numbered = rows.iter().map(|row| {
        let sealed: i64 = row.try_get("sealed_us")?;
        let seq: Option<i64> = row.try_get("seq")?;
        Ok(Numbered {
            pn: row.try_get("pn")?,
            key: row.try_get("key")?,
            version: row.try_get("version")?,
            seq: seq.map(u64::try_from).transpose()?,
            sealed: Moment(u64::try_from(sealed - ahead).unwrap_or(0)),
        })
    });
    numbered.collect()
}

/// Imports products through catalog's route and waits until the copy has them all.
pub async fn import(
    place: &Place,
    lane: &mut Syncline,
    running: &mut Running,
    products: u32,
) -> anyhow::Result<Figures> {
    take_notes(running).await?;
    let meter = Meter::start(place, lane, running.pids()).await?;
    let first = lane.next;
    let body = (0..products).map(move |key| {
        let mut line = body(key, first + u64::from(key), Kind::Put);
        line.push('\n');
        Ok::<_, std::convert::Infallible>(bytes::Bytes::from(line))
    });
    let pool = crate::source::pool(&lane.source.url(), 4)?;
    let routes = catalog::routes(pool);
    let request = http::Request::post("/api/v1/products/import")
        .header(http::header::CONTENT_TYPE, "application/x-ndjson")
        .body(axum::body::Body::from_stream(futures::stream::iter(body)))?;
    let start = Instant::now();
    let answer = tower::ServiceExt::oneshot(routes, request).await?;
    let told = axum::body::to_bytes(answer.into_body(), 1 << 20).await?;
    let answered = start.elapsed();
    lane.drain(DRAIN_LIMIT).await?;
    let applied = start.elapsed();
    let told: serde_json::Value = serde_json::from_slice(&told)?;
    anyhow::ensure!(told["stored"] == products, "the import answered {told}");
    running.check()?;
    (lane.next, lane.keys) = (lane.next + u64::from(products), lane.keys.max(products));
    let mut figures = Figures {
        changes: u64::from(products),
        applied: f64::from(products) / applied.as_secs_f64(),
        ..Figures::default()
    };
    meter.finish(&mut figures).await?;
    take_notes(running).await?;
    figures.others.insert("import_answered_s".to_owned(), answered.as_secs_f64());
    figures.others.insert("import_applied_s".to_owned(), applied.as_secs_f64());
    Ok(figures)
}
