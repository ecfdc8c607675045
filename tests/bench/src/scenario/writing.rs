//! A writer as a process of its own: warmed up first, sent off when everything else is ready.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::ChildStdin;
use tokio::time::sleep;

use super::Load;
use crate::figures::Figures;
use crate::lane::Syncline;
use crate::measure::Spread;
use crate::ops::{self, Op, Outcome};
use crate::proc;
use crate::process::{Process, command};

/// How often it is looked at what the writer uses: a process that has ended says nothing any more.
const LOOK: Duration = Duration::from_millis(50);

/// A writer that is warm and waits.
#[derive(Debug)]
pub(crate) struct Writer {
    process: Process,
    word: ChildStdin,
    out: PathBuf,
    /// The number of its first change that counts.
    pub(crate) next: u64,
}

/// What a writer wrote, and what it used.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) ops: Vec<Op>,
    cpu: Duration,
    memory: u64,
}

impl Writer {
    /// Starts a writer of this load, to the database at this URL or beside the plain app's sidecar
    /// with this port, and waits until it is warm.
    pub(crate) async fn start(
        load: &Load,
        (database_url, plain): (&str, Option<u16>),
        (keys, first): (u32, u64),
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let out = folder.join("ops.txt");
        let mut command = command(&std::env::current_exe()?);
        command
            .arg("writer")
            .args(["--rate", &load.rate.to_string()])
            .args(["--warm", &load.seconds.0.to_string()])
            .args(["--seconds", &load.seconds.1.to_string()])
            .args(["--keys", &keys.to_string()])
            .args(["--seed", &load.seed.to_string()])
            .args(["--first", &first.to_string()])
            .arg("--out")
            .arg(&out)
            .env("DATABASE_URL", database_url);
        if let Some(port) = plain {
            command.env("PLAIN_GRPC_PORT", port.to_string());
        }
        let (mut process, word, told) = Process::start_spoken_to("writer", command, folder)?;
        let mut line = String::new();
        BufReader::new(told).read_line(&mut line).await?;
        let Ok(next) = line.trim().parse() else {
            sleep(LOOK).await;
            process.check()?;
            anyhow::bail!("the writer said {line:?}")
        };
        Ok(Self { process, word, out, next })
    }

    /// Starts a writer to a lane's source.
    pub(crate) async fn of(lane: &mut Syncline, load: &Load) -> anyhow::Result<Self> {
        let to = (lane.source.url(), None);
        let numbers = (lane.keys, lane.next);
        let writer = Self::start(load, (&to.0, to.1), numbers, lane.folder()).await?;
        lane.next = writer.next;
        Ok(writer)
    }

    /// Lets it write what counts, to its end.
    pub(crate) async fn go(mut self) -> anyhow::Result<Written> {
        let pid = self.process.pid();
        let cpu = || pid.map(proc::cpu).unwrap_or_default();
        let memory = pid.map(proc::memory).unwrap_or_default();
        let before = cpu();
        self.word.write_all(b"go\n").await.context("sending the writer off")?;
        let finishing = self.process.finish();
        tokio::pin!(finishing);
        let mut last = before;
        let finished = loop {
            tokio::select! {
                finished = &mut finishing => break finished,
                () = sleep(LOOK) => {}
            }
            last = last.max(cpu());
        };
        finished?;
        let text = std::fs::read_to_string(&self.out).context("reading what was written")?;
        Ok(Written { ops: ops::read(&text)?, cpu: last.saturating_sub(before), memory })
    }
}

impl Written {
    /// How many changes were asked for.
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.ops.len()).unwrap_or(u64::MAX)
    }

    /// Adds what the writer used, and how well it kept to its plan of these seconds.
    pub(crate) fn costs(&self, seconds: f64, figures: &mut Figures) {
        let changes = u32::try_from(figures.changes).map_or(f64::MAX, f64::from);
        let cpu = self.cpu.as_secs_f64() * 1e6 / changes.max(1.0);
        figures.cpu_us.insert("writer".to_owned(), cpu);
        let mib = u32::try_from(self.memory >> 20).map_or(0.0, f64::from);
        figures.memory_mib.insert("writer".to_owned(), mib);
        let first = self.ops.iter().map(|op| op.scheduled).min();
        let last = self.ops.iter().map(|op| op.answered).max();
        let took = last.zip(first).map_or(0.0, |(last, first)| last.since(first).as_secs_f64());
        figures.others.insert("written_per_s".to_owned(), changes / took.max(f64::MIN_POSITIVE));
        let failed = self.ops.iter().filter(|op| op.outcome == Outcome::Failed).count();
        let failed = u32::try_from(failed).map_or(f64::MAX, f64::from);
        figures.others.insert("failed".to_owned(), failed);
        if figures.offered > 0.0 {
            let kept = took <= seconds * 1.05 + 0.5 && failed == 0.0;
            let sustained = if kept { 1.0 } else { 0.0 };
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
