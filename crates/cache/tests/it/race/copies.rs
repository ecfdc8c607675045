//! What the gateway's database holds: positions and dirty keys, and which versions the worker has
//! carried out in the cache.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use contracts::calls::{PositionState, StreamState, SyncResponse};
use contracts::{Lane, Pn, Stream, Term, Topic};
use protocol::fresh::{Settled, Sight};
use protocol::reader::{Phase, Position};
use uuid::Uuid;

use super::owners::{Change, ENTITIES, PARTS};

/// A key that the cache has yet to notice, as protocol has it: marking raises all but `low`.
#[derive(Debug, Clone, Copy)]
struct Dirty {
    marks: u64,
    low: i64,
    high: i64,
    version: i64,
}

/// One dirty key as the worker took it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) owner: usize,
    pub(super) change: Change,
    marks: u64,
    high: i64,
}

#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    positions: [i64; PARTS.len()],
    dirty: HashMap<(usize, usize), Dirty>,
    carried: HashMap<(usize, usize), i64>,
}

impl Copies {
    pub(super) fn position(&self, owner: usize) -> i64 {
        self.state().positions[owner]
    }

    /// One transaction: the changes, their dirty keys, the position.
    pub(super) fn apply(&self, owner: usize, changes: &[Change]) {
        let mut state = self.state();
        for change in changes {
            state.positions[owner] += 1;
            let pn = state.positions[owner];
            let unmarked = Dirty { marks: 0, low: pn, high: pn, version: 0 };
            let dirty = state.dirty.entry((owner, change.entity)).or_insert(unmarked);
            dirty.marks += 1;
            (dirty.high, dirty.version) = (pn, dirty.version.max(change.version));
        }
    }

    /// All dirty keys.
    pub(super) fn take(&self) -> Vec<Taken> {
        let state = self.state();
        let taken = state.dirty.iter().map(|(&(owner, entity), dirty)| {
            let change = Change { entity, version: dirty.version };
            Taken { owner, change, marks: dirty.marks, high: dirty.high }
        });
        taken.collect()
    }

    /// What was taken has been carried out.
    pub(super) fn done(&self, taken: &[Taken]) {
        let mut state = self.state();
        for Taken { owner, change, marks, high } in taken {
            let key = (*owner, change.entity);
            let carried = state.carried.entry(key).or_default();
            *carried = change.version.max(*carried);
            match state.dirty.get_mut(&key) {
                Some(dirty) if dirty.marks != *marks => dirty.low = high + 1,
                Some(_) => drop(state.dirty.remove(&key)),
                None => {}
            }
        }
    }

    /// The highest version of each part that has been carried out for an entity.
    pub(super) fn carried(&self, entity: usize) -> [i64; PARTS.len()] {
        let state = self.state();
        std::array::from_fn(|owner| state.carried.get(&(owner, entity)).copied().unwrap_or(0))
    }

    /// One owner's copy as the clean moments want to see it.
    pub(super) fn sight(&self, owner: usize) -> Sight {
        let state = self.state();
        let low = (0..ENTITIES).filter_map(|entity| state.dirty.get(&(owner, entity)));
        let low = low.map(|dirty| dirty.low).min().map(pn);
        let position = Position { pn: pn(state.positions[owner]), term: term() };
        let streams = BTreeMap::from([(stream(owner), Settled { position, low })]);
        Sight { phase: Phase::Serving, rebuild: 0, streams, has_unnumbered: false }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// What a sync is answered.
pub(super) fn answer(owner: usize, head: i64) -> SyncResponse {
    let (stream, topic, state) = (stream(owner), topic(owner), PositionState::Ok);
    let state = StreamState { stream, topic, head: pn(head), term: term(), floor: Pn::ZERO, state };
    SyncResponse { streams: vec![state], root: term(), term: Some(term()) }
}

fn topic(owner: usize) -> Topic {
    Topic::parse(&format!("owner.{}", PARTS[owner])).unwrap()
}

fn stream(owner: usize) -> Stream {
    Stream::new(&topic(owner), Lane::Normal)
}

fn term() -> Term {
    Term::new(Uuid::nil())
}

fn pn(number: i64) -> Pn {
    Pn::try_from(number).unwrap()
}
