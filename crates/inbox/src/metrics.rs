//! Names and labels of what the inbox counts.

use contracts::Topic;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use crate::apply::Settled;
use crate::journal::Entry;

/// Changes by outcome: `applied`, `stale`, `case`.
const CHANGES: &str = "inbox_changes";
/// Deliveries that changed nothing, by reason: `duplicate`, `left-to-reader`, `unreadable`,
/// `unknown-stream`.
const DELIVERIES: &str = "inbox_deliveries_without_change";
/// What must not happen, by kind: `contradiction`, `diverged`, `unreadable-answer`.
const ALARMS: &str = "inbox_alarms";
/// Time from lock to commit of a batch; the unit becomes the suffix `_seconds`.
const BATCH_DURATION: &str = "inbox_batch_duration";
/// Time from the oldest change of a batch at its source to the batch's commit here; the unit
/// becomes the suffix `_seconds`.
const SYNC_DURATION: &str = "sync_duration";
/// Bounds of both, in seconds.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

const TOPIC: &str = "topic";
const OUTCOME: &str = "outcome";
const REASON: &str = "reason";
const KIND: &str = "kind";

/// The instruments of one topic.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    topic: KeyValue,
    changes: Counter<u64>,
    deliveries: Counter<u64>,
    alarms: Counter<u64>,
    batch_duration: Histogram<f64>,
    sync_duration: Histogram<f64>,
}

impl Metrics {
    pub(crate) fn new(topic: &Topic) -> Self {
        let meter = opentelemetry::global::meter("inbox");
        let seconds = |name| {
            meter.f64_histogram(name).with_unit("s").with_boundaries(SECONDS.to_vec()).build()
        };
        Self {
            topic: KeyValue::new(TOPIC, topic.to_string()),
            changes: meter.u64_counter(CHANGES).build(),
            deliveries: meter.u64_counter(DELIVERIES).build(),
            alarms: meter.u64_counter(ALARMS).build(),
            batch_duration: seconds(BATCH_DURATION),
            sync_duration: seconds(SYNC_DURATION),
        }
    }

    pub(crate) fn batch(&self, settled: &Settled<'_>, entry: &Entry<'_>) {
        let counts = [
            ("applied", settled.winners.len()),
            ("stale", settled.stale.len()),
            ("case", settled.cases.len()),
        ];
        for (outcome, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            self.changes.add(count as u64, &[self.topic.clone(), KeyValue::new(OUTCOME, outcome)]);
        }
        if settled.contradictions > 0 {
            self.alarm("contradiction");
        }
        self.batch_duration.record(entry.seconds(), std::slice::from_ref(&self.topic));
        if let Some(written_at) = entry.written_at {
            let since = chrono::Utc::now().signed_duration_since(written_at);
            let since = since.to_std().unwrap_or_default().as_secs_f64();
            self.sync_duration.record(since, std::slice::from_ref(&self.topic));
        }
    }

    pub(crate) fn delivery(&self, reason: &'static str) {
        self.deliveries.add(1, &[self.topic.clone(), KeyValue::new(REASON, reason)]);
    }

    pub(crate) fn alarm(&self, kind: &'static str) {
        self.alarms.add(1, &[self.topic.clone(), KeyValue::new(KIND, kind)]);
    }
}
