//! Two owners, each of one part: its versions, its log, and when each version was committed.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How many entities there are.
pub(super) const ENTITIES: usize = 40;
/// The part that each owner owns.
pub(super) const PARTS: [&str; 2] = ["price", "stock"];

/// The one clock of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Duration {
        self.0.elapsed()
    }
}

/// One change in a log; its number is its place, from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) entity: usize,
    pub(super) version: i64,
}

#[derive(Debug)]
pub(super) struct Owner {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    log: Vec<Change>,
    /// Of each entity, when its versions were committed, from version 1.
    commits: Vec<Vec<Duration>>,
}

impl Owner {
    pub(super) fn new(clock: Clock) -> Self {
        let state = State { log: Vec::new(), commits: vec![Vec::new(); ENTITIES] };
        Self { clock, state: Mutex::new(state) }
    }

    /// Changes an entity; from now on everyone who asks sees it.
    pub(super) fn commit(&self, entity: usize) {
        let mut state = self.state();
        let now = self.clock.now();
        state.commits[entity].push(now);
        let version = number(state.commits[entity].len());
        state.log.push(Change { entity, version });
    }

    /// The version that an entity has.
    pub(super) fn read(&self, entity: usize) -> i64 {
        number(self.state().commits[entity].len())
    }

    /// The version that an entity had at that moment.
    pub(super) fn read_at(&self, entity: usize, moment: Duration) -> i64 {
        number(self.state().commits[entity].partition_point(|commit| *commit < moment))
    }

    /// The newest number.
    pub(super) fn head(&self) -> i64 {
        number(self.state().log.len())
    }

    /// What follows a number, at most so many.
    pub(super) fn after(&self, pn: i64, most: usize) -> Vec<Change> {
        let passed = usize::try_from(pn).unwrap();
        self.state().log.iter().skip(passed).take(most).copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap()
}
