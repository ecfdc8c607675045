//! How long to wait before the next try: exponential backoff with full jitter.

use std::time::Duration;

/// A schedule of waits: each failure doubles the limit that the wait is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// A schedule whose first wait is drawn from `base`, and none from more than `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// The longest that the wait after this many failures in a row can be.
    pub fn limit(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// The wait after this many failures in a row, evenly drawn from its limit by `random`.
    ///
    /// Full jitter: callers that failed together do not come back together.
    pub fn wait(self, failures: u32, random: u64) -> Duration {
        let limit = u64::try_from(self.limit(failures).as_micros()).unwrap_or(u64::MAX);
        let drawn = (u128::from(limit) * u128::from(random)) >> 64;
        Duration::from_micros(u64::try_from(drawn).unwrap_or(limit))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCHEDULE: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

    #[test]
    fn each_failure_doubles_the_limit_up_to_the_cap() {
        let limits: Vec<_> = (1..=9).map(|n| SCHEDULE.limit(n).as_millis()).collect();
        assert_eq!(limits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(SCHEDULE.limit(u32::MAX), Duration::from_secs(5));
    }

    #[test]
    fn the_wait_covers_the_whole_limit() {
        assert_eq!(SCHEDULE.wait(3, 0), Duration::ZERO);
        assert_eq!(SCHEDULE.wait(3, 1 << 63), Duration::from_millis(100));
        assert!(SCHEDULE.wait(3, u64::MAX) > Duration::from_millis(199));
    }

    proptest! {
        #[test]
        fn no_wait_exceeds_its_limit(failures: u32, random: u64) {
            prop_assert!(SCHEDULE.wait(failures, random) <= SCHEDULE.limit(failures));
        }
    }
}
