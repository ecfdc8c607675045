//! A part and its process: how it ended and when it is started again.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use crate::{parts::Part, process::Identity};

/// The wait before a part that died is started again, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A part that ran this long is taken to be well again.
const WELL: Duration = Duration::from_secs(30);
/// A part and its process.
pub(super) struct Running {
    pub(super) part: Part,
    pub(super) child: Option<Child>,
    pub(super) process: Option<Identity>,
    /// When it was last started.
    pub(super) since: Instant,
    /// When it is to be started again.
    pub(super) again: Option<Instant>,
    backoff: Duration,
    pub(super) restarts: u32,
    /// Whether it was started at all.
    pub(super) wanted: bool,
    /// How often it died before it was ready.
    pub(super) deaths_unready: u32,
}

impl Running {
    pub(super) fn new(part: Part) -> Self {
        Self {
            part,
            child: None,
            process: None,
            since: Instant::now(),
            again: None,
            backoff: BACKOFF.0,
            restarts: 0,
            wanted: false,
            deaths_unready: 0,
        }
    }

    /// Notes the end of the process, if it ended, and says how.
    pub(super) fn reap(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        self.process = None;
        Some(status.to_string())
    }

    /// When to start it again: soon, and later each time, unless it ran well before.
    pub(super) fn schedule(&mut self) -> Duration {
        if self.since.elapsed() >= WELL {
            self.backoff = BACKOFF.0;
        }
        let wait = self.backoff;
        self.again = Some(Instant::now() + wait);
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
        self.restarts += 1;
        self.deaths_unready += 1;
        wait
    }

    /// Whether its process still runs.
    pub(super) fn is_left(&mut self) -> bool {
        self.reap();
        self.child.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Kind;

    #[test]
    fn a_part_that_dies_again_and_again_waits_longer_each_time() {
        let mut running = Running::new(Part::for_tests("catalog", Kind::Service));
        let waits: Vec<Duration> = (0..9).map(|_| running.schedule()).collect();
        assert_eq!(waits.first(), Some(&BACKOFF.0));
        assert_eq!(waits.last(), Some(&BACKOFF.1));
        assert!(waits.is_sorted());
        assert_eq!(running.restarts, 9);
    }
}
