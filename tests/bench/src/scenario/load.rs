//! A load of single writes, as many as a rate asks for or as go, from the writer to the copy.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;
use tokio::time::sleep;

use super::{DRAIN_LIMIT, steps};
use crate::clock::Moment;
use crate::figures::Figures;
use crate::lane::{Running, Syncline};
use crate::measure::{Notes, Numbered, Spread, join};
use crate::meter::Meter;
use crate::process::{Process, command};
use crate::{ops, proc};

const NUMBERED: &str = include_str!("../../queries/numbered.sql");
const COUNTS: &str = include_str!("../../queries/counts.sql");

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
    lane: &mut Syncline,
    running: &mut Running,
    load: &Load,
) -> anyhow::Result<Figures> {
    let (warm, measured) = load.seconds;
    if warm > 0.0 {
        write(lane, &Load { seconds: (0.0, warm), seed: load.seed ^ 1, ..*load }).await?;
        lane.drain(DRAIN_LIMIT).await?;
    }
    take_notes(running).await?;
    let after = lane.head().await?;
    let counts = Counts::read(lane).await?;
    let meter = Meter::start(lane.place(), lane.databases(), running.pids()).await?;
    let written = write_to(lane, load).await?;
    let lag = lane.head().await? - lane.position().await?;
    let drained = lane.drain(DRAIN_LIMIT).await?;
    running.check()?;
    sleep(CLEANED).await;
    lane.next += written.count();
    let numbered = numbered(lane, after).await?;
    let notes = take_notes(running).await?;
    let mut figures = join(&written.ops, &numbered, &notes)?;
    figures.offered = load.rate;
    meter.finish(&mut figures).await?;
    counts.since(lane, &mut figures).await?;
    written.costs(measured, &mut figures);
    let lag = u32::try_from(lag.max(0)).map_or(f64::MAX, f64::from);
    figures.others.insert("lag_end_s".to_owned(), lag / figures.applied.max(1.0));
    figures.others.insert("drain_s".to_owned(), drained.as_secs_f64());
    together(&numbered, &notes, &mut figures);
    steps::add(lane, running, (&numbered, &notes), &mut figures).await?;
    Ok(figures)
}

/// The cache follows the last commit a moment later.
const CLEANED: Duration = Duration::from_millis(400);

/// What a writer wrote, and what it used.
pub(crate) struct Written {
    pub(crate) ops: Vec<ops::Op>,
    usage: proc::Usage,
}

impl Written {
    /// How many changes were asked for.
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.ops.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn costs(&self, seconds: f64, figures: &mut Figures) {
        let changes = u32::try_from(figures.changes).map_or(f64::MAX, f64::from);
        let cpu = self.usage.cpu.as_secs_f64() * 1e6 / changes.max(1.0);
        figures.cpu_us.insert("writer".to_owned(), cpu);
        let mib = u32::try_from(self.usage.memory >> 20).map_or(0.0, f64::from);
        figures.memory_mib.insert("writer".to_owned(), mib);
        let first = self.ops.iter().map(|op| op.scheduled).min();
        let last = self.ops.iter().map(|op| op.answered).max();
        let took = last.zip(first).map_or(0.0, |(last, first)| last.since(first).as_secs_f64());
        figures.others.insert("written_per_s".to_owned(), changes / took.max(f64::MIN_POSITIVE));
        if figures.offered > 0.0 {
            let sustained = if took <= seconds * 1.05 + 0.5 { 1.0 } else { 0.0 };
            figures.others.insert("sustained".to_owned(), sustained);
        }
        let mut spread = Spread::default();
        for op in &self.ops {
            // Beyond what a histogram holds there is nothing to be learned.
            let _ = spread.note(op.began, op.answered);
        }
        figures.steps.insert("write".to_owned(), spread.latency());
    }
}

/// Runs a writer to its end; a process that has ended says nothing of what it used.
pub(crate) async fn writing(process: Process, out: &Path) -> anyhow::Result<Written> {
    let pid = process.pid();
    let finishing = process.finish();
    tokio::pin!(finishing);
    let mut usage = proc::Usage::default();
    let finished = loop {
        tokio::select! {
            finished = &mut finishing => break finished,
            () = sleep(LOOK) => {}
        }
        let now = pid.map(proc::usage).unwrap_or_default();
        usage = if now.cpu > usage.cpu { now } else { usage };
    };
    finished?;
    Ok(Written { ops: read_ops(out)?, usage })
}

/// How often it is looked at what the writer uses.
const LOOK: Duration = Duration::from_millis(50);

/// How the changes travelled together.
fn together(numbered: &[Numbered], notes: &Notes, figures: &mut Figures) {
    let mut sealed: Vec<_> = numbered.iter().map(|change| change.sealed).collect();
    sealed.sort_unstable();
    sealed.dedup();
    let all = u32::try_from(numbered.len()).map_or(0.0, f64::from);
    let per = |count: usize| all / u32::try_from(count.max(1)).map_or(1.0, f64::from);
    figures.others.insert("changes_per_tick".to_owned(), per(sealed.len()));
    figures.others.insert("changes_per_commit".to_owned(), per(notes.moved.len()));
}

/// Counters of the copy that only grow.
pub(super) struct Counts {
    duplicates: i64,
    regressed: i64,
}

impl Counts {
    pub(super) async fn read(lane: &Syncline) -> anyhow::Result<Self> {
        let row = lane.copy.connect().await?.query_one(COUNTS, &[]).await?;
        Ok(Self { duplicates: row.try_get("duplicates")?, regressed: row.try_get("regressed")? })
    }

    pub(super) async fn since(&self, lane: &Syncline, figures: &mut Figures) -> anyhow::Result<()> {
        let now = Self::read(lane).await?;
        figures.duplicates = u64::try_from(now.duplicates - self.duplicates)?;
        figures.out_of_order = u64::try_from(now.regressed - self.regressed)?;
        Ok(())
    }
}

/// Writes, whoever follows; answers what was written.
pub async fn write(lane: &mut Syncline, load: &Load) -> anyhow::Result<Vec<ops::Op>> {
    let written = write_to(lane, load).await?;
    lane.next += written.count();
    Ok(written.ops)
}

impl Load {
    /// The writer that carries it out; the caller names what it writes to.
    pub(crate) fn command(&self, out: &Path, (keys, first): (u32, u64)) -> anyhow::Result<Command> {
        let mut command = command(&std::env::current_exe()?);
        command
            .arg("writer")
            .args(["--rate", &self.rate.to_string()])
            .args(["--seconds", &self.seconds.1.to_string()])
            .args(["--keys", &keys.to_string()])
            .args(["--seed", &self.seed.to_string()])
            .args(["--first", &first.to_string()])
            .arg("--out")
            .arg(out);
        Ok(command)
    }
}

/// Has a lane's source written to.
pub(super) async fn write_to(lane: &Syncline, load: &Load) -> anyhow::Result<Written> {
    let out = lane.folder().join("ops.txt");
    let mut command = load.command(&out, (lane.keys, lane.next))?;
    command.env("DATABASE_URL", lane.source.url());
    writing(Process::start("writer", command, lane.folder())?, &out).await
}

fn read_ops(out: &Path) -> anyhow::Result<Vec<ops::Op>> {
    let text = std::fs::read_to_string(out).context("reading what was written")?;
    ops::read(&text)
}

/// Everything that the consumer noted since the last time.
pub(super) async fn take_notes(running: &Running) -> anyhow::Result<Notes> {
    Notes::read(&take_text(running).await?, Syncline::stream().as_str())
}

/// The same, of all streams, as it is noted.
pub(super) async fn take_text(running: &Running) -> anyhow::Result<String> {
    let consumer = running.consumer.as_ref().context("the consumer is away")?;
    let url = format!("http://127.0.0.1:{}/bench/notes", consumer.port);
    Ok(reqwest::get(url).await?.error_for_status()?.text().await?)
}

/// What the source numbered after a number.
pub(super) async fn numbered(lane: &Syncline, after: i64) -> anyhow::Result<Vec<Numbered>> {
    let source = lane.source.connect().await?;
    let rows = source.query(NUMBERED, &[&Syncline::stream().as_str(), &after]).await?;
    let numbered = rows.iter().map(|row| {
        let sealed: i64 = row.try_get("sealed_us")?;
        let seq: Option<i64> = row.try_get("seq")?;
        Ok(Numbered {
            pn: row.try_get("pn")?,
            key: row.try_get("key")?,
            version: row.try_get("version")?,
            seq: seq.map(u64::try_from).transpose()?,
            sealed: Moment::of_wall(sealed),
        })
    });
    numbered.collect()
}
