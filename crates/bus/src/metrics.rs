//! Names and labels of what is measured alike on both sides of the bus.

use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};

/// Time that one step of the mesh took, in seconds; the name is given, so it has no unit's suffix.
const OPERATION_DURATION: &str = "integration_operation_duration";
/// What waits at a step: `publish`, `apply`, `clean`.
const QUEUE_SIZE: &str = "sync_queue_size";

/// The step: `publish`, `apply`, `clean`, `sync`, `feed`, `snapshot`.
const OPERATION: &str = "operation";
/// How it ended: `ok`, `refused`, `failed`.
const STATUS: &str = "status";
/// The step at which it waits.
const QUEUE: &str = "queue";
/// The topic, or the sink at `clean`.
const NAME: &str = "name";

/// Bounds in seconds, close to each other where a step usually ends.
const SECONDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0];

/// The meter of whatever several crates count under one name; one name and meter are one series.
pub fn meter() -> Meter {
    opentelemetry::global::meter("syncline")
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It did what it should.
    Ok,
    /// Somebody else said no.
    Refused,
    /// It did not, and is tried again.
    Failed,
}

/// How long steps took, by step and end.
#[derive(Debug, Clone)]
pub struct Operations(Histogram<f64>);

impl Operations {
    /// The instrument; all in a process are one.
    pub fn new() -> Self {
        let meter = meter();
        let builder = meter.f64_histogram(OPERATION_DURATION).with_boundaries(SECONDS.to_vec());
        Self(builder.with_description("Seconds that one step of the mesh took.").build())
    }

    /// A step that began then has ended.
    pub fn ended(&self, operation: &'static str, status: Status, began: Instant) {
        self.took(operation, status, began.elapsed());
    }

    /// A step took this long.
    pub fn took(&self, operation: &'static str, status: Status, took: Duration) {
        let status = match status {
            Status::Ok => "ok",
            Status::Refused => "refused",
            Status::Failed => "failed",
        };
        let labels = [KeyValue::new(OPERATION, operation), KeyValue::new(STATUS, status)];
        self.0.record(took.as_secs_f64(), &labels);
    }
}

impl Default for Operations {
    fn default() -> Self {
        Self::new()
    }
}

/// What waits, told whenever somebody looks.
pub struct Queues<'a>(&'a dyn AsyncInstrument<u64>);

impl Queues<'_> {
    /// So many wait at this step, of this topic or for this sink.
    pub fn waiting(&self, queue: &'static str, name: &str, size: u64) {
        let labels = [KeyValue::new(QUEUE, queue), KeyValue::new(NAME, name.to_owned())];
        self.0.observe(size, &labels);
    }
}

impl std::fmt::Debug for Queues<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queues").finish_non_exhaustive()
    }
}

/// From now on asks this, whenever somebody looks, how much waits.
pub fn watch_queues(tell: impl Fn(&Queues<'_>) + Send + Sync + 'static) {
    let meter = meter();
    let gauge = meter.u64_observable_gauge(QUEUE_SIZE);
    let gauge = gauge.with_description("Changes or dirty keys that wait at a step.");
    let _ = gauge.with_callback(move |observer| tell(&Queues(observer))).build();
}
