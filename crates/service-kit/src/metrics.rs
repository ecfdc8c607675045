//! Names and labels of the metrics that every service has.

use opentelemetry::metrics::{Histogram, Meter};

/// Time from a request's head to its answer's head; the unit becomes the suffix `_seconds`.
pub(crate) const REQUEST_DURATION: &str = "service_kit_request_duration";
/// The request's method.
pub(crate) const METHOD: &str = "method";
/// The route that matched, with its placeholders; `none` where no route did.
pub(crate) const ROUTE: &str = "route";
/// The answer's status.
pub(crate) const STATUS: &str = "status";

/// The histogram of request durations.
pub(crate) fn request_duration(meter: &Meter) -> Histogram<f64> {
    meter
        .f64_histogram(REQUEST_DURATION)
        .with_unit("s")
        .with_description("Time from a request's head to its answer's head.")
        .with_boundaries(vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ])
        .build()
}
