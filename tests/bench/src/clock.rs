//! One clock for all processes of a run on this machine.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of the machine's monotonic clock, which all its processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
        Self(seconds * 1_000_000 + nanos / 1_000)
    }

    /// A moment that PostgreSQL told by the wall clock, in microseconds since 1970: both clocks are
    /// this machine's, and what one is ahead of the other hardly changes during a run.
    pub fn of_wall(micros: i64) -> Self {
        let time = clock_gettime(ClockId::Realtime);
        let wall = time.tv_sec * 1_000_000 + time.tv_nsec / 1_000;
        let ago = wall.saturating_sub(micros);
        Self(Self::now().0.saturating_add_signed(-ago))
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0 + u64::try_from(later.as_micros()).unwrap_or(u64::MAX / 2))
    }

    /// How long after another moment it is; nothing if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
