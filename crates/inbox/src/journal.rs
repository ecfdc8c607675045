//! What the journal says about one batch: its numbers, its road, and what each step took.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use contracts::{Pn, Stream, Term};

/// The road by which a batch arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// The broker delivered it.
    Push,
    /// The reader fetched it.
    Feed,
}

impl Via {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Feed => "feed",
        }
    }
}

/// One row of the journal, apart from its outcomes.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) stream: &'a Stream,
    pub(crate) first: Pn,
    pub(crate) last: Pn,
    pub(crate) term: Term,
    pub(crate) via: Via,
    pub(crate) written_at: Option<DateTime<Utc>>,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) clock: Clock,
}

/// When the steps of a batch ended. What is stored of its keys is read with the lock, unless the
/// batch came unexpected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    begun: Instant,
    locked: Instant,
    gated: Instant,
    applied: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let begun = Instant::now();
        Self { begun, locked: begun, gated: begun, applied: begun }
    }

    pub(crate) fn locked(&mut self) {
        self.locked = Instant::now();
    }

    pub(crate) fn gated(&mut self) {
        self.gated = Instant::now();
    }

    pub(crate) fn applied(&mut self) {
        self.applied = Instant::now();
    }
}

impl Entry<'_> {
    pub(crate) fn lock_us(&self) -> i64 {
        micros(self.clock.locked.duration_since(self.clock.begun))
    }

    pub(crate) fn gate_us(&self) -> i64 {
        micros(self.clock.gated.duration_since(self.clock.locked))
    }

    pub(crate) fn apply_us(&self) -> i64 {
        micros(self.clock.applied.duration_since(self.clock.gated))
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.clock.begun.elapsed().as_secs_f64()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
