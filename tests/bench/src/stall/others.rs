//! How much of the machine others used meanwhile: programs that are no part of the run.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::processors;
use crate::proc;

/// Watches what processors did from its start on.
#[derive(Debug)]
pub struct Others {
    ours: Vec<u32>,
    began: Instant,
    busy: Duration,
    own: Duration,
}

impl Others {
    /// Begins to watch; all but these processes, with their children, are others.
    pub fn start(ours: Vec<u32>) -> anyhow::Result<Self> {
        let own = ours.iter().map(|pid| proc::cpu(*pid)).sum();
        Ok(Self { ours, began: Instant::now(), busy: busy()?, own })
    }

    /// The share of all processors' time that went to others, from 0 to 1.
    pub fn share(&self) -> anyhow::Result<f64> {
        let own: Duration = self.ours.iter().map(|pid| proc::cpu(*pid)).sum();
        let own = own.saturating_sub(self.own);
        let others = busy()?.saturating_sub(self.busy).saturating_sub(own);
        let processors = u32::try_from(processors()?.len())?;
        let room = self.began.elapsed() * processors.max(1);
        Ok(others.as_secs_f64() / room.as_secs_f64().max(f64::MIN_POSITIVE))
    }
}

/// What all processors have spent on programs and on the kernel's own work.
fn busy() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("reading what processors did")?;
    spent(&text).context("/proc/stat tells nothing of processors")
}

/// Times of user, nice and system, and of interrupts; neither idle nor stolen.
fn spent(stat: &str) -> Option<Duration> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let sum: u64 = ticks.get(..3)?.iter().chain(ticks.get(5..7)?).sum();
    Some(proc::of_ticks(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_waiting_and_stolen_time_is_nobodys() {
        let stat = "cpu  100 10 50 9000 700 5 5 300 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(spent(stat), Some(Duration::from_millis(1_700)));
        assert_eq!(spent("intr 1 2 3"), None);
    }

    #[test]
    fn what_this_process_does_is_its_own() -> anyhow::Result<()> {
        let spin = |for_ms| {
            let end = Instant::now() + Duration::from_millis(for_ms);
            let mut sum = 0_u64;
            while Instant::now() < end {
                sum = sum.wrapping_mul(31).wrapping_add(7);
            }
            assert_ne!(sum, 1);
        };
        // Ticks are coarse and other tests run beside: what counts is that one sees it as its own
        // and the other does not.
        let (ours, nobodys) = (Others::start(vec![std::process::id()])?, Others::start(vec![])?);
        spin(600);
        let (ours, nobodys) = (ours.share()?, nobodys.share()?);
        assert!(nobodys > ours, "{nobodys} with this process among the others, {ours} without");
        Ok(())
    }
}
