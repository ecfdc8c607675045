//! The trace in which something is written.

use contracts::TraceContext;
use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The current span as a `traceparent`, if there is one.
pub(crate) fn current() -> Option<TraceContext> {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    let flags = span.trace_flags().to_u8();
    let text = format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
    TraceContext::parse(&text).ok()
}
