//! Tells whether the host let this machine run: times in which it did not, and how fast it was.
//!
//! The benchmark loads every processor on purpose, so "this thread did not run" proves nothing.
//! The kernel tells the two reasons apart: how long a thread stood ready in a run queue, behind
//! others of this machine, is the second number of its `schedstat`. What a thread missed beyond
//! its pause and that wait is the host's doing, because a timer that fires late while nobody else
//! is served means that the processor (or, when a process is stopped, this process) stood still.
//!
//! Three things keep that honest:
//! - There is a sentinel for each processor, tied to it: a host may take away one and not another.
//! - Sentinels ask for real-time priority, so that they hardly ever wait in the queue (niceness
//!   does not do: kernels weigh it within a session only). They may be refused; then, under full
//!   load, a standstill is likely to fall into a wait and look like one. So a long wait is checked
//!   against what the kernel accounted to that processor meanwhile: time that it gave neither to a
//!   program nor to idling was not there to be given.
//! - Wait and clock are read as one, see `RunQueue::now`: a thread that is sent away between the
//!   two readings would blame the host for its own neighbours.
//!
//! The same split makes the calibration ([`calibrate`]) immune to our own load: it counts the time
//! that a fixed calculation took without its waits. Processor time will not do instead, for kernels
//! with a paravirtual clock leave out of it what the host stole, and just that is looked for.

mod gate;
mod memory;
mod others;
mod run_queue;
mod speed;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use self::run_queue::{Accounts, RunQueue};

pub use gate::{Gate, Verdict, Watched};
pub use memory::Memory;
pub use others::Others;
pub use speed::{Speed, calibrate};

/// How long a sentinel sleeps: far below what is looked for, and cheap, at well below 1 % of a
/// processor. By so much a gap may be longer than it looks, since it may begin during the sleep.
const PAUSE: Duration = Duration::from_millis(5);
/// A wait in the run queue that is longer is checked against the accounts of the processor.
const WAIT_SUSPECT: Duration = Duration::from_millis(20);
/// How old the accounts may be that a long wait is checked against: what else was not accounted for
/// since then is taken for part of the wait.
const ACCOUNTS_EVERY: Duration = Duration::from_millis(100);

/// Watches every processor from [`Sentinel::start`] to [`Sentinel::finish`].
#[derive(Debug)]
pub struct Sentinel {
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<Gaps>>>,
}

/// The longest times that a sentinel did not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Because the host did not run its processor, or because the process was stopped.
    pub host: Duration,
    /// Because others of this machine ran; no fault.
    pub queue: Duration,
}

impl Gaps {
    fn longest(self, other: Self) -> Self {
        Self { host: self.host.max(other.host), queue: self.queue.max(other.queue) }
    }
}

impl Sentinel {
    /// Begins to watch: from when this returns nothing is missed.
    pub fn start() -> anyhow::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let (ready, readiness) = mpsc::channel();
        for cpu in processors()? {
            let (stopped, ready) = (Arc::clone(&stopped), ready.clone());
            let thread = thread::Builder::new().name(format!("sentinel-{cpu}"));
            let watch = move || watch(cpu, &stopped, ready);
            threads.push(thread.spawn(watch).context("start a sentinel")?);
        }
        drop(ready);
        for _ in &threads {
            // One that failed says so at the end.
            let _ = readiness.recv();
        }
        Ok(Self { stopped, threads })
    }

    /// Ends the watch and answers the longest gaps of any processor.
    pub fn finish(mut self) -> anyhow::Result<Gaps> {
        self.stopped.store(true, Ordering::Relaxed);
        let mut longest = Gaps::default();
        for thread in self.threads.drain(..) {
            let gaps = thread.join().map_err(|_| anyhow::anyhow!("a sentinel died"))??;
            longest = longest.longest(gaps);
        }
        Ok(longest)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// The processors that this process may use.
pub(crate) fn processors() -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("ask which processors may be used")?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Ties the calling thread to a processor.
fn stay_on(cpu: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("stay on processor {cpu}"))
}

/// Asks for real-time priority for the calling thread. Who may not have it waits longer behind our
/// own load, and knows that it does.
fn rise() {
    let thread = rustix::thread::gettid().to_string();
    let mut chrt = Command::new("chrt");
    chrt.args(["--fifo", "--pid", "1", &thread]);
    let _ = chrt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn watch(cpu: usize, stopped: &AtomicBool, ready: Sender<()>) -> anyhow::Result<Gaps> {
    stay_on(cpu)?;
    rise();
    let queue = RunQueue::open()?;
    let mut accounts = Accounts::of(cpu)?;
    let mut last = queue.now()?;
    let mut longest = Gaps::default();
    // Whoever started it waits for this.
    let _ = ready.send(());
    drop(ready);
    while !stopped.load(Ordering::Relaxed) {
        thread::sleep(PAUSE);
        let now = queue.now()?;
        let waited = now.waited.saturating_sub(last.waited);
        let unaccounted = if waited > WAIT_SUSPECT {
            let before = std::mem::replace(&mut accounts, Accounts::of(cpu)?);
            accounts.unaccounted_since(&before)
        } else {
            Duration::ZERO
        };
        longest = longest.longest(split(now.at - last.at, waited, unaccounted));
        if accounts.at.elapsed() > ACCOUNTS_EVERY {
            accounts = Accounts::of(cpu)?;
        }
        last = now;
    }
    Ok(longest)
}

/// Whose doing it was that a sentinel paused for so long, of which it waited in the run queue,
/// while so much of its processor's time was given to nobody.
fn split(paused: Duration, waited: Duration, unaccounted: Duration) -> Gaps {
    let stolen = waited.min(unaccounted);
    let late = paused.saturating_sub(PAUSE).saturating_sub(waited);
    Gaps { host: late + stolen, queue: waited - stolen }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_late_timer_is_the_hosts_doing_and_a_wait_in_the_queue_is_ours() {
        let gaps = |host, queue| Gaps { host: ms(host), queue: ms(queue) };
        assert_eq!(split(PAUSE, ms(0), ms(0)), gaps(0, 0));
        assert_eq!(split(PAUSE + ms(300), ms(0), ms(0)), gaps(300, 0));
        assert_eq!(split(PAUSE + ms(300), ms(300), ms(0)), gaps(0, 300));
        assert_eq!(split(PAUSE + ms(300), ms(100), ms(0)), gaps(200, 100));
    }

    #[test]
    fn a_wait_while_nobody_was_served_is_the_hosts_doing() {
        let gaps = |host, queue| Gaps { host: ms(host), queue: ms(queue) };
        assert_eq!(split(PAUSE + ms(300), ms(300), ms(280)), gaps(280, 20));
        assert_eq!(split(PAUSE + ms(300), ms(100), ms(400)), gaps(300, 0));
    }

    #[test]
    fn the_longest_of_each_kind_stays() {
        let one = Gaps { host: ms(1), queue: ms(9) };
        let other = Gaps { host: ms(5), queue: ms(2) };
        assert_eq!(one.longest(other), Gaps { host: ms(5), queue: ms(9) });
    }
}
