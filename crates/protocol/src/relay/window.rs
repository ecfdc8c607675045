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
    saved: Pn,
    saved_at: Duration,
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
    /// The mark was saved at this number.
    Saved(Pn),
    /// The mark could not be saved; it is tried again after the usual pause.
    NotSaved,
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
    /// Save this number as the mark.
    Save(Pn),
    /// Wait for an answer, a seal, or until this moment.
    Wait(Option<Duration>),
}

impl Window {
    /// How seldom the mark is saved: a successor repeats at most about this much.
    pub const SAVE_EVERY: Duration = Duration::from_secs(1);
    /// When to try again after an unknown outcome.
    pub const SCHEDULE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

    /// Starts at the saved mark.
    pub const fn new(mark: Pn, now: Duration) -> Self {
        Self {
            head: mark,
            accepted: mark,
            in_flight: false,
            failures: 0,
            not_before: Duration::ZERO,
            saved: mark,
            saved_at: now,
        }
    }

    /// The last number that the broker has.
    pub const fn accepted(&self) -> Pn {
        self.accepted
    }

    /// The number to save at the end, if it is not saved yet.
    pub fn unsaved(&self) -> Option<Pn> {
        (self.accepted > self.saved).then_some(self.accepted)
    }

    /// Takes in what happened and the newest number; answers what to do.
    pub fn step(&mut self, now: Duration, head: Pn, answer: Answer) -> Step {
        self.note(now, answer);
        self.head = self.head.max(head);
        self.decide(now)
    }

    /// Takes in what happened when nothing more is to be done.
    pub fn note(&mut self, now: Duration, answer: Answer) {
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
            Answer::Saved(pn) => {
                self.saved = self.saved.max(pn);
                self.saved_at = now;
            }
            Answer::NotSaved => self.saved_at = now,
            Answer::Passed => {}
        }
    }

    fn decide(&mut self, now: Duration) -> Step {
        if self.in_flight {
            return Step::Wait(None);
        }
        let save_at = self.unsaved().map(|pn| (pn, self.saved_at + Self::SAVE_EVERY));
        match save_at {
            Some((pn, at)) if now >= at => return Step::Save(pn),
            _ => {}
        }
        let publish_at = (self.head > self.accepted).then_some(self.not_before);
        match publish_at {
            Some(at) if now >= at => {
                self.in_flight = true;
                Step::Publish { after: self.accepted }
            }
            _ => Step::Wait(publish_at.into_iter().chain(save_at.map(|(_, at)| at)).min()),
        }
    }
}

#[cfg(test)]
mod tests;
