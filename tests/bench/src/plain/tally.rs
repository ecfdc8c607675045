//! What the plain consumer remembers of the changes it was sent, for the benchmark alone.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// How many deliveries came, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Changes taken for the first time, those that a newer one had overtaken among them.
    pub applied: u64,
    /// Changes that had been taken before.
    pub duplicates: u64,
    /// Of those applied: came after a newer version of the same product; only the guard in the
    /// statement kept the copy from going backwards.
    pub overtaken: u64,
    /// Dropped, since a product may not be so.
    pub refused: u64,
    /// Dropped, since they are no change.
    pub unreadable: u64,
    /// Answered 500: they come again.
    pub failed: u64,
}

/// Counts, and when each change was applied and its cache entry gone.
#[derive(Debug, Default)]
pub(super) struct Tally {
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    counts: Counts,
    seen: HashSet<u64>,
    applied: Vec<(u64, Moment, Moment)>,
}

/// Whether the copy took a change over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It did.
    Newer,
    /// It was as new already.
    NotNewer,
}

impl Tally {
    /// A change that was applied, or found overtaken, at one moment and clean at the other.
    pub(super) fn note(&self, seq: u64, taken: Taken, applied: Moment, clean: Moment) {
        self.with(|noted| {
            if !noted.seen.insert(seq) {
                noted.counts.duplicates += 1;
                return;
            }
            noted.counts.applied += 1;
            noted.counts.overtaken += u64::from(taken == Taken::NotNewer);
            noted.applied.push((seq, applied, clean));
        });
    }

    /// One more of something else.
    pub(super) fn count(&self, one_more: impl FnOnce(&mut Counts)) {
        self.with(|noted| one_more(&mut noted.counts));
    }

    /// All counts since the start.
    pub(super) fn counts(&self) -> Counts {
        self.with(|noted| noted.counts)
    }

    /// The lines `seq applied_us clean_us` of what was noted since they were asked for last.
    pub(super) fn take_lines(&self) -> String {
        let applied = self.with(|noted| std::mem::take(&mut noted.applied));
        let mut lines = String::with_capacity(applied.len() * 36);
        for (seq, Moment(applied), Moment(clean)) in applied {
            writeln!(lines, "{seq} {applied} {clean}").expect("a string takes every line");
        }
        lines
    }

    fn with<T>(&self, act: impl FnOnce(&mut Noted) -> T) -> T {
        act(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_handed_over_once_and_what_came_before_stays_known() {
        let tally = Tally::default();
        tally.note(7, Taken::Newer, Moment(10), Moment(11));
        tally.note(6, Taken::NotNewer, Moment(12), Moment(13));
        assert_eq!(tally.take_lines(), "7 10 11\n6 12 13\n");
        tally.note(7, Taken::NotNewer, Moment(14), Moment(15));
        assert_eq!(tally.take_lines(), "");
        let counts = Counts { applied: 2, duplicates: 1, overtaken: 1, ..Counts::default() };
        assert_eq!(tally.counts(), counts);
    }
}
