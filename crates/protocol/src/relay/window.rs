//! What of one stream is published next: one envelope in flight, repeated until it is accepted.

use std::time::Duration;

use contracts::Pn;

use crate::retry::Backoff;

/// The publishing of one stream during one term.
///
/// `now` is any clock that does not go back. A publish whose outcome is unknown is repeated from
/// the same number: a late repeat is an identical duplicate, which costs a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    head: Pn,
    accepted: Pn,
    in_flight: bool,
    failures: u32,
    not_before: Duration,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The broker has everything up to this number.
    Accepted(Pn),
    /// The outcome of the publish is unknown; `random` draws the wait.
    Unknown {
        /// Evenly distributed over all values.
        random: u64,
    },
    /// Time passed.
    Passed,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Publish the envelope that follows this number.
    Publish {
        /// The last number accepted.
        after: Pn,
    },
    /// Wait for an answer, a seal, or until this moment.
    Wait(Option<Duration>),
}

impl Window {
    /// When to try again after an unknown outcome.
    pub const SCHEDULE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

    /// Starts at the saved mark.
    pub const fn new(mark: Pn) -> Self {
        Self {
            head: mark,
            accepted: mark,
            in_flight: false,
            failures: 0,
            not_before: Duration::ZERO,
        }
    }

    /// Takes in what happened and the newest number; answers what to do.
    pub fn step(&mut self, now: Duration, head: Pn, answer: Answer) -> Step {
        match answer {
            Answer::Accepted(last) => {
                self.in_flight = false;
                self.failures = 0;
                self.accepted = self.accepted.max(last);
            }
            Answer::Unknown { random } => {
                self.in_flight = false;
                self.failures = self.failures.saturating_add(1);
                self.not_before = now + Self::SCHEDULE.wait(self.failures, random);
            }
            Answer::Passed => {}
        }
        self.head = self.head.max(head);
        if self.in_flight || self.head <= self.accepted {
            return Step::Wait(None);
        }
        if now < self.not_before {
            return Step::Wait(Some(self.not_before));
        }
        self.in_flight = true;
        Step::Publish { after: self.accepted }
    }
}

#[cfg(test)]
mod tests;
