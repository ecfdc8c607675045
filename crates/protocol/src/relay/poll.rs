//! How long to wait between two ticks.

use std::time::Duration;

/// The wait between ticks: short while changes come, longer and longer while none do.
///
/// A tick that finds something is the beginning of an envelope, and each envelope costs a durable
/// write here and a transaction at every consumer, however much it holds. So after a find the wait
/// is a few times as long as the tick took: a machine that is busy answers slowly, and gets fewer
/// and larger envelopes. Once a tick fills an envelope by itself there is nothing left to gain.
///
/// A tick that found nothing costs a look. For a while after a find they stay frequent, since
/// changes come in bursts; then the wait doubles up to a limit that a first change after a pause
/// can bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    wait: Duration,
    idle: Duration,
}

impl Poll {
    /// The shortest wait.
    pub const SHORTEST: Duration = Duration::from_millis(1);
    /// The longest wait.
    pub const LONGEST: Duration = Duration::from_millis(50);
    /// The longest wait after a tick that found something, however slow it was.
    pub const BUSY_LONGEST: Duration = Duration::from_millis(10);
    /// How many times longer than a tick the wait after it is while envelopes are small.
    pub const SPACING: u32 = 4;
    /// So many changes fill an envelope.
    pub const FULL: u64 = 100;
    /// The wait after looks that found nothing, as long as changes may be on their way.
    pub const ATTENTIVE: Duration = Duration::from_millis(4);
    /// How long after a find that is.
    pub const LINGER: Duration = Duration::from_millis(250);

    /// The policy at start: look again soon.
    pub const fn new() -> Self {
        Self { wait: Self::SHORTEST, idle: Self::LINGER }
    }

    /// The wait after a tick that found this many changes and took this long.
    pub fn after(&mut self, found: u64, took: Duration) -> Duration {
        if found > 0 {
            let times = if found >= Self::FULL { 1 } else { Self::SPACING };
            self.idle = Duration::ZERO;
            self.wait = (took * times).clamp(Self::SHORTEST, Self::BUSY_LONGEST);
            return self.wait;
        }
        self.idle = (self.idle + self.wait + took).min(Self::LINGER);
        self.wait = if self.idle < Self::LINGER {
            Self::ATTENTIVE
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
    use crate::relay::Limits;

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
    fn small_finds_are_spaced_by_what_a_tick_takes() {
        let mut poll = Poll { wait: Poll::LONGEST, idle: Poll::LINGER };
        assert_eq!(poll.after(1, ms(1)), ms(4));
        assert_eq!(poll.after(1, Duration::ZERO), Poll::SHORTEST);
        assert_eq!(poll.after(99, ms(900)), Poll::BUSY_LONGEST);
    }

    #[test]
    fn a_find_that_fills_an_envelope_is_followed_soon() {
        assert_eq!(Poll::FULL, Limits::ENVELOPE.changes_max as u64);
        let mut poll = Poll::new();
        assert_eq!(poll.after(Poll::FULL, ms(2)), ms(2));
    }

    #[test]
    fn after_a_find_it_stays_attentive_for_a_while() {
        let mut poll = Poll::new();
        poll.after(1, ms(1));
        let mut since = ms(4);
        while since < Poll::LINGER {
            assert_eq!(poll.after(0, ms(0)), Poll::ATTENTIVE, "{since:?} after the find");
            since += Poll::ATTENTIVE;
        }
        assert_eq!(poll.after(0, ms(0)), ms(8));
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
