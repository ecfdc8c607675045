//! A load of single writes, as many as a rate asks for or as go, from the writer to the copy.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use super::writing::Writer;
use super::{DRAIN_LIMIT, steps};
use crate::clock::Moment;
use crate::figures::Figures;
use crate::lane::{Part, Running, Syncline};
use crate::measure::{Notes, Numbered, join};
use crate::meter::Meter;
use crate::ops::Op;

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
    let writer = Writer::of(lane, load).await?;
    lane.drain(DRAIN_LIMIT).await?;
    take_notes(running).await?;
    let after = lane.head().await?;
    let counts = Counts::read(lane).await?;
    let meter = Meter::start(lane.place(), lane.databases(), running.pids()).await?;
    let written = writer.go().await?;
    lane.drain(DRAIN_LIMIT).await?;
    running.check()?;
    sleep(CLEANED).await;
    let used = meter.stop().await?;
    lane.next += written.count();
    let numbered = numbered(lane, after).await?;
    let notes = take_notes(running).await?;
    let mut figures = join(&written.ops, &numbered, &notes)?;
    figures.offered = load.rate;
    used.add(&mut figures);
    counts.since(lane, &mut figures).await?;
    written.costs(load.seconds.1, &mut figures);
    together(&numbered, &notes, &mut figures);
    steps::add(lane, running, (&numbered, &notes), &mut figures).await?;
    Ok(figures)
}

/// The cache follows the last commit a moment later.
const CLEANED: Duration = Duration::from_millis(400);

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
pub async fn write(lane: &mut Syncline, load: &Load) -> anyhow::Result<Vec<Op>> {
    let written = Writer::of(lane, load).await?.go().await?;
    lane.next += written.count();
    Ok(written.ops)
}

/// Everything that the consumer noted since the last time.
pub(super) async fn take_notes(running: &Running) -> anyhow::Result<Notes> {
    take_notes_of(running.consumer.as_ref().context("the consumer is away")?).await
}

/// The same of any consumer.
pub(super) async fn take_notes_of(consumer: &Part) -> anyhow::Result<Notes> {
    Notes::read(&take_text_of(consumer).await?, Syncline::stream().as_str())
}

/// The same, of all streams, as it is noted.
pub(super) async fn take_text(running: &Running) -> anyhow::Result<String> {
    take_text_of(running.consumer.as_ref().context("the consumer is away")?).await
}

async fn take_text_of(consumer: &Part) -> anyhow::Result<String> {
    let url = format!("http://127.0.0.1:{}/bench/notes", consumer.port);
    Ok(reqwest::get(url).await?.error_for_status()?.text().await?)
}

/// What the source numbered after a number.
pub(super) async fn numbered(lane: &Syncline, after: i64) -> anyhow::Result<Vec<Numbered>> {
    let source = lane.source.connect().await?;
    // As the relay reads them: by the index, however little is known of the table's size.
    source.batch_execute("set enable_seqscan = off; set jit = off").await?;
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
