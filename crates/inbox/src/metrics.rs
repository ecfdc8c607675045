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
}

impl Metrics {
    pub(crate) fn new(topic: &Topic) -> Self {
        let meter = opentelemetry::global::meter("inbox");
        Self {
            topic: KeyValue::new(TOPIC, topic.to_string()),
            changes: meter.u64_counter(CHANGES).build(),
            deliveries: meter.u64_counter(DELIVERIES).build(),
            alarms: meter.u64_counter(ALARMS).build(),
            batch_duration: meter.f64_histogram(BATCH_DURATION).with_unit("s").build(),
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
    }

    pub(crate) fn delivery(&self, reason: &'static str) {
        self.deliveries.add(1, &[self.topic.clone(), KeyValue::new(REASON, reason)]);
    }

    pub(crate) fn alarm(&self, kind: &'static str) {
        self.alarms.add(1, &[self.topic.clone(), KeyValue::new(KIND, kind)]);
    }
}
