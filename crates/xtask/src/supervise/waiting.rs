//! Waiting for parts to be ready and for commands to end, while all children are looked after.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};

use super::{Halt, Supervisor, TURN};
use crate::{parts::Part, plan::Kind, progress::Step};

/// A part that dies this often before it was ever ready keeps the mesh from coming up.
const DEATHS_MAX: u32 = 5;
/// How long parts may take to be ready, by kind.
const fn patience(kind: Kind) -> Duration {
    match kind {
        Kind::Postgres => Duration::from_secs(120), // it may have to recover
        Kind::Redis => Duration::from_secs(15),
        Kind::Sidecar => Duration::from_secs(60),
        Kind::Service => Duration::from_secs(120), // a copy may have to be read anew
        Kind::Trade => Duration::ZERO,             // nobody waits for it
    }
}

impl Supervisor<'_> {
    /// Waits until all parts of a kind do their job, one line for each.
    pub(super) fn wait_ready(&mut self, kind: Kind) -> Result<(), Halt> {
        let indices: Vec<usize> = (0..self.running.len())
            .filter(|index| self.running.get(*index).is_some_and(|one| one.part.kind == kind))
            .collect();
        for index in indices {
            let Some(running) = self.running.get(index) else { continue };
            let part = running.part.clone();
            let address = part.url().unwrap_or_else(|| format!("127.0.0.1:{}", part.port));
            let mut step = Step::begin_at(running.since, &part.name, format!("{address} starts"));
            let deadline = Instant::now() + patience(kind);
            let result = loop {
                let why = match self.answer(index, &part) {
                    Ok(()) => break Ok(()),
                    Err(why) => why,
                };
                if let Err(halt) = self.turn() {
                    break Err(halt);
                }
                let deaths = self.running.get(index).map_or(0, |running| running.deaths_unready);
                if deaths >= DEATHS_MAX {
                    break Err(Halt::Failed(self.failure(&part, "dies again and again")));
                }
                if Instant::now() >= deadline {
                    let told = format!("is not ready after {} s: {why}", patience(kind).as_secs());
                    break Err(Halt::Failed(self.failure(&part, &told)));
                }
                step.tick();
                thread::sleep(TURN);
            };
            match result {
                Ok(()) => step.done(&self.where_it_is(&part, &address)),
                Err(halt) => {
                    step.drop_line();
                    return Err(halt);
                }
            }
            if let Some(running) = self.running.get_mut(index) {
                running.deaths_unready = 0;
            }
        }
        Ok(())
    }

    /// Whether a part answers, and not a stranger in its place.
    fn answer(&self, index: usize, part: &Part) -> Result<(), String> {
        let runs = self.running.get(index).is_some_and(|running| running.child.is_some());
        if runs { self.parts.ready(part) } else { Err("it does not run".to_owned()) }
    }

    fn where_it_is(&self, part: &Part, address: &str) -> String {
        match part.kind {
            Kind::Postgres => format!("{address}  {}", self.parts.plan.postgres.data.display()),
            Kind::Redis | Kind::Sidecar | Kind::Service | Kind::Trade => address.to_owned(),
        }
    }

    fn failure(&self, part: &Part, what: &str) -> anyhow::Error {
        let log = self.parts.home.log(&part.name);
        let told = last_lines(&log).unwrap_or_default();
        let more = self.parts.home.command(&format!("logs {}", part.name));
        anyhow!("{} {what}\n{told}  log: {}\n  see: {more}", part.name, log.display())
    }

    /// Runs a command to its end while looking after the children.
    pub(super) fn step(
        &mut self,
        name: &str,
        what: &str,
        log: &str,
        mut command: Command,
    ) -> Result<(), Halt> {
        let mut step = Step::begin(name, what);
        let file = self.parts.home.open_log(log)?;
        let spawned = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("opening the log twice")?)
            .stderr(file)
            .spawn();
        let mut child = spawned.with_context(|| format!("starting {name} {what}"))?;
        let result = loop {
            match child.try_wait().context("waiting for a command")? {
                Some(status) if status.success() => break Ok(()),
                Some(status) => {
                    let path = self.parts.home.log(log);
                    let told = last_lines(&path).unwrap_or_default();
                    let path = path.display();
                    let error = anyhow!("{name} {what} ended with {status}\n{told}  log: {path}");
                    break Err(Halt::Failed(error));
                }
                None => {}
            }
            if let Err(halt) = self.turn() {
                let _ = child.kill().and_then(|()| child.wait());
                break Err(halt);
            }
            step.tick();
            thread::sleep(TURN);
        };
        match result {
            Ok(()) => step.done(what),
            Err(_) => step.drop_line(),
        }
        result
    }
}

/// The end of a log, set off from what is said about it.
fn last_lines(path: &Path) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(3000))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().rev().take(8).rev();
    Some(last.map(|line| format!("    | {line}\n")).collect())
}
