//! Names and labels of what the cache counts.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

/// Looks by outcome: `hit`, `miss`, `old` (a miss beside which the last known value lay).
const LOOKS: &str = "cache_looks";
/// Fills by outcome: `stored`, `refused`.
const FILLS: &str = "cache_fills";
/// Invalidations that were carried out.
const INVALIDATIONS: &str = "cache_invalidations";
/// Values that ceased to be current by an invalidation.
const ENDED: &str = "cache_values_ended";
/// Failures by kind: `unreachable`, `refused`, `unfit`.
const FAILURES: &str = "cache_failures";

const OUTCOME: &str = "outcome";
const KIND: &str = "kind";

/// The instruments.
#[derive(Debug)]
pub(crate) struct Metrics {
    looks: Counter<u64>,
    fills: Counter<u64>,
    invalidations: Counter<u64>,
    ended: Counter<u64>,
    failures: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("cache");
        Self {
            looks: meter.u64_counter(LOOKS).build(),
            fills: meter.u64_counter(FILLS).build(),
            invalidations: meter.u64_counter(INVALIDATIONS).build(),
            ended: meter.u64_counter(ENDED).build(),
            failures: meter.u64_counter(FAILURES).build(),
        }
    }

    pub(crate) fn look(&self, outcome: &'static str) {
        self.looks.add(1, &[KeyValue::new(OUTCOME, outcome)]);
    }

    pub(crate) fn fill(&self, outcome: &'static str) {
        self.fills.add(1, &[KeyValue::new(OUTCOME, outcome)]);
    }

    pub(crate) fn invalidations(&self, carried_out: usize, ended: u64) {
        self.invalidations.add(carried_out as u64, &[]);
        self.ended.add(ended, &[]);
    }

    pub(crate) fn failure(&self, kind: &'static str) {
        self.failures.add(1, &[KeyValue::new(KIND, kind)]);
    }
}
