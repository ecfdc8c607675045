//! Up to which moment everything that one source committed is known to have taken effect here.
//!
//! A call of sync that started at a moment is answered with heads that include whatever was
//! committed before it. Once the positions have reached those heads, and no key that a number at or
//! below them made dirty is left, everything from before that moment has taken effect: the moment
//! is *clean*. Pushes that arrive prove nothing of the kind, since nobody knows which did not.
//! While a copy stands still or is loaded anew no moment becomes clean. [`Clean`] finds the moment,
//! [`freshness`] says what an answer that depends on several sources may claim.

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

/// Whether an answer that depends on several sources is fresh now: the source that was clean
/// longest ago decides, and one that never was makes it stale.
pub fn freshness(
    now: Duration,
    clean_at: impl IntoIterator<Item = Option<Duration>>,
    bound: Duration,
) -> Freshness {
    let oldest = clean_at.into_iter().try_fold(now, |oldest, at| Some(oldest.min(at?)));
    let age = oldest.map(|oldest| now.saturating_sub(oldest));
    match age {
        Some(age) if age <= bound => Freshness::Fresh { age },
        age => Freshness::Stale { age },
    }
}

#[cfg(test)]
mod tests;
