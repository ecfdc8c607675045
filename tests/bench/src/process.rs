//! A child process: started with a log of its own, weighed by the kernel's figures, ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A child process; killed when dropped, and with this program if that dies first.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// A command that ends with this program, in an environment of its own.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    let kept = ["PATH", "HOME", "LANG", "TMPDIR"];
    command
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| kept.iter().any(|k| name == k)));
    command
}

impl Process {
    /// Starts it; what it says goes to `<name>.log` in this folder.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let (log, file) = open_log(name, folder)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Self::spawn(name, command, log)
    }

    /// Starts it with a line of its own in each direction; only what it complains of is logged.
    pub fn start_spoken_to(
        name: &str,
        mut command: Command,
        folder: &Path,
    ) -> anyhow::Result<(Self, ChildStdin, ChildStdout)> {
        let (log, file) = open_log(name, folder)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut process = Self::spawn(name, command, log)?;
        let stdin = process.child.stdin.take().context("it has an input")?;
        let stdout = process.child.stdout.take().context("it has an output")?;
        Ok((process, stdin, stdout))
    }

    fn spawn(name: &str, mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let child = command.kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its number.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.with_context(|| format!("{} has ended", self.name))?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// An error with the end of its log, if it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<_> = log.lines().rev().take(8).collect();
                let told: Vec<_> = lines.into_iter().rev().collect();
                anyhow::bail!("{} ended with {status}:\n{}", self.name, told.join("\n"))
            }
        }
    }

    /// Asks it to end and waits.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // One that had ended by itself did nothing of what was measured.
        self.check()?;
        self.signal(Signal::TERM)?;
        match timeout(STOP_LIMIT, self.child.wait()).await {
            Ok(ended) => ended.map(drop).context("waiting for its end"),
            Err(_) => {
                self.child.kill().await?;
                anyhow::bail!("{} did not end within {STOP_LIMIT:?}", self.name)
            }
        }
    }

    /// Kills it, as power loss of its process would.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// Waits for an end by itself, which must be a good one.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        self.child.wait().await?;
        match self.child.try_wait()? {
            Some(status) if status.success() => Ok(()),
            _ => self.check(),
        }
    }
}

fn open_log(name: &str, folder: &Path) -> anyhow::Result<(PathBuf, File)> {
    let log = folder.join(format!("{name}.log"));
    let file = File::options().create(true).append(true).open(&log)?;
    Ok((log, file))
}
