//! Names and labels of what the inbox counts.

use std::time::Duration;

use bus::metrics::{Operations, Status, meter};
use contracts::{Header, Topic};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use crate::apply::Settled;
use crate::journal::Entry;

/// Changes that were tried, each time, by outcome: `applied`, `stale`, `case`, `failed`; the last
/// are tried again.
const ATTEMPTS: &str = "sync_attempts";
/// Those of them that did not end well, by kind: a case's `unreadable`, `invalid` or `failing`, or
/// `retried`.
const ERRORS: &str = "sync_errors";
/// Conflicts by type and strategy. So far there is one, a stored version that came again with
/// another content: of type `version`, for a person to decide, `manual`.
const CONFLICTS: &str = "sync_conflicts";
/// Time from the oldest change of a batch at its source to the batch's commit here; the unit
/// becomes the suffix `_seconds`.
const SYNC_DURATION: &str = "sync_duration";
/// For how long a copy has not been known to equal its source; the unit becomes the suffix
/// `_seconds`.
const FRESHNESS: &str = "sync_freshness";
/// Deliveries that changed nothing, by reason: `duplicate`, `left-to-reader`, `unreadable`,
/// `unknown-stream`.
const DELIVERIES: &str = "inbox_deliveries_without_change";
/// What must not happen, by kind: `diverged`, `damaged`, `unreadable-answer`.
const ALARMS: &str = "inbox_alarms";
/// Bounds of the duration, in seconds.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

const TOPIC: &str = "topic";
const OUTCOME: &str = "outcome";
const REASON: &str = "reason";
const KIND: &str = "kind";
const TYPE: &str = "type";
const STRATEGY: &str = "strategy";

/// The instruments of one topic.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    topic: KeyValue,
    attempts: Counter<u64>,
    errors: Counter<u64>,
    conflicts: Counter<u64>,
    deliveries: Counter<u64>,
    alarms: Counter<u64>,
    sync_duration: Histogram<f64>,
    operations: Operations,
}

impl Metrics {
    pub(crate) fn new(topic: &Topic) -> Self {
        let meter = meter();
        let seconds = meter.f64_histogram(SYNC_DURATION).with_unit("s");
        Self {
            topic: KeyValue::new(TOPIC, topic.to_string()),
            attempts: meter.u64_counter(ATTEMPTS).build(),
            errors: meter.u64_counter(ERRORS).build(),
            conflicts: meter.u64_counter(CONFLICTS).build(),
            deliveries: meter.u64_counter(DELIVERIES).build(),
            alarms: meter.u64_counter(ALARMS).build(),
            sync_duration: seconds.with_boundaries(SECONDS.to_vec()).build(),
            operations: Operations::new(),
        }
    }

    pub(crate) fn batch(&self, settled: &Settled<'_>, entry: &Entry<'_>) {
        self.attempts("applied", settled.winners.len() as u64);
        self.attempts("stale", settled.stale.len() as u64);
        self.attempts("case", settled.cases.len() as u64);
        for case in &settled.cases {
            self.errors(case.kind.as_str(), 1);
        }
        if settled.contradictions > 0 {
            let labels = [
                self.topic.clone(),
                KeyValue::new(TYPE, "version"),
                KeyValue::new(STRATEGY, "manual"),
            ];
            self.conflicts.add(u64::from(settled.contradictions), &labels);
        }
        self.operations.took("apply", Status::Ok, Duration::from_secs_f64(entry.seconds()));
        if let Some(written_at) = entry.written_at {
            let since = chrono::Utc::now().signed_duration_since(written_at);
            let since = since.to_std().unwrap_or_default().as_secs_f64();
            self.sync_duration.record(since, std::slice::from_ref(&self.topic));
        }
    }

    /// A batch was tried for so long and rolled back because of one of its records.
    pub(crate) fn split(&self, took: Duration) {
        self.operations.took("apply", Status::Failed, took);
    }

    /// A batch was tried for so long and rolled back; it is tried again.
    pub(crate) fn failed(&self, header: &Header, took: Duration) {
        let changes = (header.last.get() - header.first.get() + 1).unsigned_abs();
        self.attempts("failed", changes);
        self.errors("retried", changes);
        self.operations.took("apply", Status::Failed, took);
    }

    fn attempts(&self, outcome: &'static str, count: u64) {
        if count > 0 {
            self.attempts.add(count, &[self.topic.clone(), KeyValue::new(OUTCOME, outcome)]);
        }
    }

    fn errors(&self, kind: &'static str, count: u64) {
        self.errors.add(count, &[self.topic.clone(), KeyValue::new(KIND, kind)]);
    }

    pub(crate) fn delivery(&self, reason: &'static str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.deliveries.add(count, &[self.topic.clone(), KeyValue::new(REASON, reason)]);
    }

    pub(crate) fn alarm(&self, kind: &'static str) {
        self.alarms.add(1, &[self.topic.clone(), KeyValue::new(KIND, kind)]);
    }
}

/// From now on asks this, whenever somebody looks, how old the copies are.
pub(crate) fn watch_freshness(ages: impl Fn() -> Vec<(Topic, Duration)> + Send + Sync + 'static) {
    let meter = meter();
    let gauge = meter.f64_observable_gauge(FRESHNESS).with_unit("s");
    let gauge = gauge.with_callback(move |observer| {
        for (topic, age) in ages() {
            observer.observe(age.as_secs_f64(), &[KeyValue::new(TOPIC, topic.to_string())]);
        }
    });
    let _ = gauge.build();
}
