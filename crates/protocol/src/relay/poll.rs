//! How long to wait between two ticks.

use std::time::Duration;

/// The wait between ticks: short while changes come, longer and longer while none do.
///
/// A tick that found something costs a durable write, so the next one waits about as long as that
/// write took: under load at least half of the disk is the writers', and batches grow by
/// themselves. A tick that found nothing costs a look; the wait doubles up to a limit that a first
/// change after a pause can bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    wait: Duration,
}

impl Poll {
    /// The shortest wait.
    pub const SHORTEST: Duration = Duration::from_millis(1);
    /// The longest wait.
    pub const LONGEST: Duration = Duration::from_millis(50);
    /// The longest wait after a tick that found something, however slow it was.
    pub const BUSY_LONGEST: Duration = Duration::from_millis(10);

    /// The policy at start: look again soon.
    pub const fn new() -> Self {
        Self { wait: Self::SHORTEST }
    }

    /// The wait after a tick that found this many changes and took this long.
    pub fn after(&mut self, found: u64, took: Duration) -> Duration {
        self.wait = if found > 0 {
            took.clamp(Self::SHORTEST, Self::BUSY_LONGEST)
        } else {
            (self.wait * 2).min(Self::LONGEST)
        };
        self.wait
    }
}

impl Default for Poll {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn idle_waits_double_up_to_the_longest() {
        let mut poll = Poll::new();
        let waits: Vec<_> = (0..7).map(|_| poll.after(0, ms(0)).as_millis()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 50, 50]);
    }

    #[test]
    fn a_find_shortens_the_wait_to_what_the_seal_took() {
        let mut poll = Poll { wait: Poll::LONGEST };
        assert_eq!(poll.after(1, ms(4)), ms(4));
        assert_eq!(poll.after(1, Duration::ZERO), Poll::SHORTEST);
        assert_eq!(poll.after(500, ms(900)), Poll::BUSY_LONGEST);
    }

    proptest! {
        #[test]
        fn every_wait_lies_within_the_limits(
            ticks in prop::collection::vec((0..2000u64, 0..2000u64), 1..50)
        ) {
            let mut poll = Poll::new();
            for (found, took) in ticks {
                let wait = poll.after(found, ms(took));
                prop_assert!((Poll::SHORTEST..=Poll::LONGEST).contains(&wait));
            }
        }
    }
}
