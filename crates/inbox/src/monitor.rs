//! What this process knows of its copies: whether they are ready, and how far behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use contracts::calls::{self, SyncResponse};
use contracts::{Pn, Stream, Term, Topic};
use protocol::fresh::{Clean, Sight as Settled};
use protocol::reader::{Cause, Goal, Phase, Position};
use tokio::sync::{Notify, watch};

use crate::gauges;
use crate::store::Copy;
use crate::traced::TracedBatches;

/// Shared by everything in a process that follows sources; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Monitor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The consumer's name, once something is followed.
    consumer: OnceLock<String>,
    topics: Mutex<BTreeMap<Topic, Watched>>,
    marks: watch::Sender<u64>,
    /// The newest recorded batches that marked keys dirty, for whoever cleans them.
    traced: Mutex<TracedBatches>,
    /// By sink how many keys were dirty when they were read last.
    dirty: Mutex<BTreeMap<&'static str, u64>>,
    /// Counts commits of this process that moved a position.
    moves: watch::Sender<u64>,
    asked: Notify,
    /// The sinks of which somebody wants to know up to when they are clean.
    sinks: Mutex<BTreeSet<&'static str>>,
    /// Counts calls that were answered while somebody wants to know that.
    calls: watch::Sender<u64>,
    /// Counts looks at what is clean.
    looks: watch::Sender<u64>,
    /// Where its clock begins.
    began: Instant,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            consumer: OnceLock::new(),
            topics: Mutex::default(),
            marks: watch::Sender::default(),
            traced: Mutex::default(),
            dirty: Mutex::default(),
            moves: watch::Sender::default(),
            asked: Notify::default(),
            sinks: Mutex::default(),
            calls: watch::Sender::default(),
            looks: watch::Sender::default(),
            began: Instant::now(),
        }
    }
}

/// One copy, as this process saw it last.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) phase: Phase,
    pub(crate) streams: BTreeMap<Stream, Sight>,
    pub(crate) answered: Option<Instant>,
    pub(crate) error: Option<String>,
    clean: BTreeMap<&'static str, Clean>,
    goal: Goal,
    is_reached: bool,
    entered: Instant,
}

/// One stream, as this process saw it last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sight {
    pub(crate) position: Option<Position>,
    pub(crate) head: Option<(Pn, Term)>,
    caught_up: Option<Instant>,
    stood: Option<Instant>,
}

impl Watched {
    fn new() -> Self {
        Self {
            phase: Phase::New,
            streams: BTreeMap::new(),
            answered: None,
            error: None,
            clean: BTreeMap::new(),
            goal: Goal::default(),
            is_reached: false,
            entered: Instant::now(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_reached && self.phase == Phase::Serving
    }

    /// What keeps it from being ready.
    fn complaint(&self) -> Option<String> {
        if self.is_ready() {
            return None;
        }
        let state = match self.phase {
            Phase::New => "was never loaded",
            Phase::Loading | Phase::Sweeping => "is being loaded",
            Phase::Serving => "has yet to reach the heads of its source",
            Phase::Diverged => "stands still, since its source has another past",
        };
        Some(match &self.error {
            Some(error) => format!("{state}: {error}"),
            None => state.to_owned(),
        })
    }

    /// For how long a stream has not been at its head.
    pub(crate) fn lag_seconds(&self, stream: &Stream) -> f64 {
        match self.streams.get(stream) {
            Some(sight) if sight.is_at_head() => 0.0,
            sight => {
                let since = sight.and_then(|sight| sight.caught_up).unwrap_or(self.entered);
                since.elapsed().as_secs_f64()
            }
        }
    }

    /// Since the last answer of its source with which it was equal.
    fn age(&self) -> Duration {
        let heard = self.answered.unwrap_or(self.entered).elapsed();
        let behind = self.streams.values().filter(|sight| !sight.is_at_head());
        let since = behind.map(|sight| sight.caught_up.unwrap_or(self.entered).elapsed());
        since.chain([heard]).max().unwrap_or_default()
    }

    /// How many changes its source has and it has not.
    fn missing(&self) -> u64 {
        let streams = self.streams.values();
        let missing = streams.filter_map(|sight| {
            let (head, _) = sight.head?;
            let stands = sight.position.map_or(0, |position| position.pn.get());
            Some(head.get().saturating_sub(stands).max(0).unsigned_abs())
        });
        missing.sum()
    }

    /// A call that started then was answered; it counts only for a copy that serves.
    fn heard(
        &mut self,
        sinks: BTreeSet<&'static str>,
        started: Duration,
        (copy, cause): (&Copy, Option<Cause>),
        answer: &SyncResponse,
    ) {
        for sink in sinks {
            let clean = self.clean.entry(sink).or_default();
            if copy.phase == Phase::Serving && cause.is_none() {
                clean.answered(started, copy.rebuild, answer);
            } else {
                clean.stand();
            }
        }
    }

    fn look(&mut self) {
        let at = |stream: &Stream| Some(self.streams.get(stream)?.position?.pn);
        self.is_reached |= self.goal.is_reached(at);
    }
}

impl Sight {
    fn is_at_head(&self) -> bool {
        match (self.position, self.head) {
            (Some(position), Some((head, _))) => position.pn >= head,
            (Some(_) | None, None) | (None, Some(_)) => false,
        }
    }

    fn stand(&mut self, position: Position) {
        self.position = Some(position);
        self.stood = Some(Instant::now());
        if self.is_at_head() {
            self.caught_up = Some(Instant::now());
        }
    }
}

impl Monitor {
    /// Whether every copy serves: loaded, in its source's past, and once at the heads that the
    /// source had when this process first asked.
    pub fn ready(&self) -> bool {
        self.readiness().is_ok()
    }

    /// The same, with what is missing in words.
    pub fn readiness(&self) -> Result<(), String> {
        let topics = self.topics();
        if topics.is_empty() {
            return Err("no topic is followed yet".to_owned());
        }
        let missing = topics.iter().filter_map(|(topic, watched)| {
            Some(format!("the copy of {topic} {}", watched.complaint()?))
        });
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    }

    /// From now on finds out up to which moment this sink is clean.
    pub fn track(&self, sink: &'static str) {
        self.sinks().insert(sink);
    }

    /// The newest moment from before which every change of this topic is applied here, and all that
    /// it made dirty for this sink is clean; it stands still while the copy diverges or is loaded
    /// anew, and while the source is not heard. Only of sinks that are tracked.
    pub fn clean_at(&self, topic: &str, sink: &str) -> Option<Instant> {
        let topics = self.topics();
        let (_, watched) = topics.iter().find(|(name, _)| name.as_str() == topic)?;
        Some(self.0.began + watched.clean.get(sink)?.at()?)
    }

    /// Changes whenever [`Monitor::clean_at`] of some topic may have moved.
    pub fn looks(&self) -> watch::Receiver<u64> {
        self.0.looks.subscribe()
    }

    /// Changes whenever a commit of this process moved a position.
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.0.moves.subscribe()
    }

    /// The number up to which every change of this stream has its outcome, as this process saw it
    /// last; none of a stream that it has not met.
    pub fn position(&self, stream: &Stream) -> Option<Pn> {
        let topics = self.topics();
        let sight = topics.values().find_map(|watched| watched.streams.get(stream))?;
        Some(sight.position?.pn)
    }

    pub(crate) fn calls(&self) -> watch::Receiver<u64> {
        self.0.calls.subscribe()
    }

    /// The sinks of which a look at this copy could bring a newer clean moment.
    pub(crate) fn waiting(&self, topic: &Topic) -> Vec<&'static str> {
        let topics = self.topics();
        let all = topics.get(topic).into_iter().flat_map(|watched| &watched.clean);
        all.filter(|(_, clean)| clean.is_waiting()).map(|(sink, _)| *sink).collect()
    }

    /// A copy was looked at together with what this sink has yet to notice.
    pub(crate) fn settled(&self, topic: &Topic, sink: &'static str, settled: &Settled) {
        self.with(topic, |watched| watched.clean.entry(sink).or_default().seen(settled));
        self.0.looks.send_modify(|count| *count += 1);
    }

    pub(crate) fn consumer(&self) -> Option<&str> {
        self.0.consumer.get().map(String::as_str)
    }

    pub(crate) fn enter(&self, consumer: &str, topic: &Topic) {
        self.0.consumer.get_or_init(|| {
            gauges::watch(self);
            consumer.to_owned()
        });
        self.topics().insert(topic.clone(), Watched::new());
    }

    pub(crate) fn phase(&self, topic: &Topic, phase: Phase) {
        self.with(topic, |watched| {
            watched.phase = phase;
            if phase != Phase::Serving {
                watched.clean.values_mut().for_each(Clean::stand);
            }
        });
    }

    /// A sync was answered, for positions that were read at this time; the heads count for a copy
    /// that serves and need not be loaded anew.
    pub(crate) fn answered(
        &self,
        topic: &Topic,
        (copy, cause): (&Copy, Option<Cause>),
        (read_at, positions): (Instant, &[calls::Position]),
        answer: &SyncResponse,
    ) {
        let (phase, sinks) = (copy.phase, self.sinks().clone());
        let is_tracked = !sinks.is_empty();
        self.with(topic, |watched| {
            let started = read_at.saturating_duration_since(self.0.began);
            watched.heard(sinks, started, (copy, cause), answer);
            watched.phase = phase;
            watched.answered = Some(Instant::now());
            watched.streams.retain(|name, _| answer.streams.iter().any(|s| s.stream == *name));
            for state in &answer.streams {
                let sight = watched.streams.entry(state.stream.clone()).or_default();
                sight.head = Some((state.head, state.term));
            }
            for at in positions {
                let sight = watched.streams.get_mut(&at.stream);
                // Whatever this process committed before the reading is part of it.
                let older = sight.filter(|sight| sight.stood.is_none_or(|stood| stood < read_at));
                if let Some(sight) = older {
                    sight.stand(Position { pn: at.pn, term: at.term });
                }
            }
            if phase == Phase::Serving && cause.is_none() {
                watched.goal.see(answer);
            }
            watched.look();
        });
        if is_tracked {
            self.0.calls.send_modify(|count| *count += 1);
        }
    }

    /// The last sync failed with this, or did not fail.
    pub(crate) fn synchronised(&self, topic: &Topic, error: Option<String>) {
        self.with(topic, |watched| watched.error = error);
    }

    pub(crate) fn moved(&self, topic: &Topic, stream: &Stream, position: Position) {
        self.with(topic, |watched| {
            watched.streams.entry(stream.clone()).or_default().stand(position);
            watched.look();
        });
        self.0.moves.send_modify(|count| *count += 1);
    }

    /// Where this process saw a stream last.
    pub(crate) fn stands(&self, topic: &Topic, stream: &Stream) -> Option<Position> {
        self.topics().get(topic)?.streams.get(stream)?.position
    }

    pub(crate) fn watched(&self, topic: &str) -> Option<Watched> {
        self.topics().iter().find(|(name, _)| name.as_str() == topic).map(|(_, w)| w.clone())
    }

    /// Keys were marked dirty and committed.
    pub(crate) fn marked(&self) {
        self.0.marks.send_modify(|count| *count += 1);
    }

    pub(crate) fn marks(&self) -> watch::Receiver<u64> {
        self.0.marks.subscribe()
    }

    /// The newest recorded batches that marked keys dirty.
    pub(crate) fn traced(&self) -> MutexGuard<'_, TracedBatches> {
        lock(&self.0.traced)
    }

    /// By sink how many keys were dirty when they were read last.
    pub(crate) fn dirty_keys(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        lock(&self.0.dirty)
    }

    /// By topic for how long its copy has not been known to equal its source, and how many changes
    /// its source has and it has not.
    pub(crate) fn behind(&self) -> Vec<(Topic, Duration, u64)> {
        let topics = self.topics();
        topics.iter().map(|(topic, w)| (topic.clone(), w.age(), w.missing())).collect()
    }

    /// The same monitor, for those who must not keep it alive.
    pub(crate) fn weak(&self) -> impl Fn() -> Option<Self> + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.0);
        move || shared.upgrade().map(Self)
    }

    /// Somebody asked for a rebuild.
    pub(crate) fn ask(&self) {
        self.0.asked.notify_waiters();
    }

    pub(crate) async fn asked(&self) {
        self.0.asked.notified().await;
    }

    fn with(&self, topic: &Topic, change: impl FnOnce(&mut Watched)) {
        if let Some(watched) = self.topics().get_mut(topic) {
            change(watched);
        }
    }

    fn sinks(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        lock(&self.0.sinks)
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<Topic, Watched>> {
        lock(&self.0.topics)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
