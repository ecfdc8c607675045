//! Up to which moment everything that one source committed is known to have taken effect here.
//!
//! A call of sync that started at a moment is answered with heads that include whatever was
//! committed before it. Once the positions have reached those heads, and no key that a number at or
//! below them made dirty is left, everything from before that moment has taken effect: the moment
//! is *clean*. Pushes that arrive prove nothing of the kind, since nobody knows which did not.
//! While a copy stands still or is loaded anew no moment becomes clean. [`Clean`] finds the moment,
//! [`freshness`] says what an answer that depends on several sources may claim.
//!
//! All moments are times on the local clock of one process that never goes back: what another
//! clock says, that of the cache for example, proves nothing, since any clock may be set. Such a
//! clock may stand while its machine is suspended; a process that wakes from that takes what it
//! knows for younger than it is, until its next call of sync is answered or a bound of its own time
//! is over.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use contracts::calls::{PositionState, SyncResponse};
use contracts::{Pn, Stream, Term};

use crate::reader::{Phase, Position};

/// So many calls are remembered whose heads have yet to be reached. The oldest is always among
/// them, so that a copy which is behind all the time still gets on; in between they become sparse.
const CALLS_MAX: usize = 8;

/// Where a stream stands, and what of it has yet to be noticed, as one moment saw both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// What has been applied.
    pub position: Position,
    /// The lowest number whose key is dirty.
    pub low: Option<Pn>,
}

/// A whole copy, as one moment saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// What the copy is doing.
    pub phase: Phase,
    /// Which of its rebuilds was the last to begin.
    pub rebuild: i64,
    /// Its streams.
    pub streams: BTreeMap<Stream, Settled>,
    /// Whether a key is dirty that was marked without a number, by a page of a snapshot or a case.
    pub has_unnumbered: bool,
}

/// The newest moment from before which everything has taken effect, for one copy and one sink.
///
/// Moments are times on one local clock that never goes back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clean {
    at: Option<Duration>,
    calls: VecDeque<Call>,
}

/// A call of sync whose heads have yet to be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    started: Duration,
    rebuild: i64,
    heads: BTreeMap<Stream, (Pn, Term)>,
}

impl Clean {
    /// The moment, once there is one. It never goes back.
    pub fn at(&self) -> Option<Duration> {
        self.at
    }

    /// Whether a [`Sight`] could bring a newer moment.
    pub fn is_waiting(&self) -> bool {
        !self.calls.is_empty()
    }

    /// A call that started then, for the copy as this rebuild made it, was answered. It counts only
    /// where the source holds every position that it was asked with.
    pub fn answered(&mut self, started: Duration, rebuild: i64, answer: &SyncResponse) {
        if answer.streams.iter().any(|stream| stream.state != PositionState::Ok) {
            self.stand();
            return;
        }
        if self.calls.len() >= CALLS_MAX {
            let mut place = 0;
            self.calls.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        let heads = answer.streams.iter().map(|at| (at.stream.clone(), (at.head, at.term)));
        self.calls.push_back(Call { started, rebuild, heads: heads.collect() });
    }

    /// The copy stands still or is loaded anew: no call from before says anything of it any more.
    pub fn stand(&mut self) {
        self.calls.clear();
    }

    /// The copy was looked at.
    pub fn seen(&mut self, sight: &Sight) {
        if sight.phase != Phase::Serving {
            self.stand();
            return;
        }
        self.calls.retain(|call| call.rebuild == sight.rebuild);
        let newest = self.calls.iter().rposition(|call| call.is_reached(sight));
        if let Some(newest) = newest {
            let reached = self.calls.drain(..=newest).next_back();
            self.at = self.at.max(reached.map(|call| call.started));
        }
    }
}

impl Call {
    /// A number above the head counts only in the head's own term: in another one it may belong to
    /// a past in which the head never was. The next call names the newer term.
    fn is_reached(&self, sight: &Sight) -> bool {
        !sight.has_unnumbered
            && self.heads.iter().all(|(stream, (head, term))| {
                sight.streams.get(stream).is_some_and(|settled| {
                    settled.position.pn >= *head
                        && settled.position.term == *term
                        && settled.low.is_none_or(|low| low > *head)
                })
            })
    }
}

/// What an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground<const N: usize> {
    /// All of it was read from the owners by this very process, which began to at this moment.
    Read {
        /// Before the first of them was asked.
        began: Duration,
    },
    /// Some of it at least was found current in the cache, whatever became of the rest.
    Found {
        /// The clean moments of all sources as they were known *before* the look: what is learned
        /// later says nothing of what was found earlier.
        clean_at: [Option<Duration>; N],
    },
    /// Some of it is only known to have been so once.
    Old,
}

impl<const N: usize> Ground<N> {
    /// Up to which moment an answer is proven to show every change; the source that was clean
    /// longest ago decides, and one that never was proves nothing.
    pub fn proven_at(&self) -> Option<Duration> {
        match self {
            Self::Read { began } => Some(*began),
            Self::Found { clean_at } => clean_at.iter().copied().min().flatten(),
            Self::Old => None,
        }
    }
}

/// What an answer may claim of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It shows everything that was committed before so long ago.
    Fresh {
        /// Within the bound.
        age: Duration,
    },
    /// It may lack what was committed since so long ago; without an age, since nobody knows when.
    Stale {
        /// Above the bound.
        age: Option<Duration>,
    },
}

/// Whether an answer that rests on this is fresh now.
pub fn freshness<const N: usize>(now: Duration, ground: &Ground<N>, bound: Duration) -> Freshness {
    let age = ground.proven_at().map(|proven| now.saturating_sub(proven));
    match age {
        Some(age) if age <= bound => Freshness::Fresh { age },
        age => Freshness::Stale { age },
    }
}

#[cfg(test)]
mod tests;
