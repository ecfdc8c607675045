//! What the kernel says of a thread's waits and of a processor's time.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// One tick of `/proc/stat`: a hundredth of a second on every platform in use.
const TICK: Duration = Duration::from_millis(10);
/// Programs are accounted for by sampling; accounts that differ from the clock by less say nothing.
const ACCOUNTS_BLUR: Duration = Duration::from_millis(30);

/// The record of the calling thread's waits; of use to that thread alone.
#[derive(Debug)]
pub(super) struct RunQueue(File);

/// A moment, and how long the thread had stood in run queues by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) at: Instant,
    pub(super) waited: Duration,
}

impl RunQueue {
    pub(super) fn open() -> anyhow::Result<Self> {
        let path = "/proc/thread-self/schedstat";
        Ok(Self(File::open(path).with_context(|| format!("open {path}"))?))
    }

    /// Both as of one moment: read again if the thread waited while it was reading.
    pub(super) fn now(&self) -> anyhow::Result<Reading> {
        let mut before = self.waited()?;
        loop {
            let at = Instant::now();
            let waited = self.waited()?;
            if waited == before {
                return Ok(Reading { at, waited });
            }
            before = waited;
        }
    }

    fn waited(&self) -> anyhow::Result<Duration> {
        let mut text = [0; 128];
        let length = self.0.read_at(&mut text, 0).context("read how long this thread waited")?;
        parse_waited(text.get(..length).unwrap_or_default())
            .context("the kernel does not say how long a thread waited")
    }
}

fn parse_waited(text: &[u8]) -> Option<Duration> {
    let text = str::from_utf8(text).ok()?;
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}

/// What a processor's time had been given to by some moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accounts {
    pub(super) at: Instant,
    given: Duration,
}

impl Accounts {
    pub(super) fn of(cpu: usize) -> anyhow::Result<Self> {
        let path = "/proc/stat";
        let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
        let given = parse_given(&text, cpu)
            .with_context(|| format!("the kernel keeps no accounts of processor {cpu}"))?;
        Ok(Self { at: Instant::now(), given })
    }

    /// How much time was given neither to a program, nor to the kernel, nor to idling.
    pub(super) fn unaccounted_since(&self, before: &Self) -> Duration {
        let given = self.given.saturating_sub(before.given);
        unaccounted(self.at - before.at, given)
    }
}

fn unaccounted(passed: Duration, given: Duration) -> Duration {
    let missing = passed.saturating_sub(given);
    if missing < ACCOUNTS_BLUR { Duration::ZERO } else { missing }
}

/// All but the time that was stolen; guests' time is part of the programs' already.
fn parse_given(text: &str, cpu: usize) -> Option<Duration> {
    let name = format!("cpu{cpu}");
    let mut words = text.lines().map(str::split_whitespace);
    let words = words.find_map(|mut words| (words.next()? == name).then_some(words))?;
    let ticks = words.take(7).map(|word| word.parse::<u32>().ok()).sum::<Option<u32>>()?;
    Some(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_the_second_number() {
        assert_eq!(parse_waited(b"17 2500 9\n"), Some(Duration::from_nanos(2_500)));
        assert_eq!(parse_waited(b"17"), None);
    }

    #[test]
    fn stolen_time_was_given_to_nobody() {
        let text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 1 1 1 1 1 1 50 0 0\ncpu1 2 0 0 0 0 0 0 0 0 0";
        assert_eq!(parse_given(text, 0), Some(TICK * 7));
        assert_eq!(parse_given(text, 1), Some(TICK * 2));
        assert_eq!(parse_given(text, 2), None);
    }

    #[test]
    fn sampled_accounts_are_not_trusted_to_the_tick() {
        let ms = Duration::from_millis;
        assert_eq!(unaccounted(ms(100), ms(80)), Duration::ZERO);
        assert_eq!(unaccounted(ms(100), ms(120)), Duration::ZERO);
        assert_eq!(unaccounted(ms(400), ms(100)), ms(300));
    }
}
