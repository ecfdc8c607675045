//! Goes on with the trace that an envelope carries.

use contracts::TraceContext;
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Makes the span a child of the trace in which the envelope was published.
pub(crate) fn adopt(span: &Span, trace: Option<&TraceContext>) {
    let Some(remote) = trace.and_then(remote) else { return };
    let parent = Context::new().with_remote_span_context(remote);
    // Without telemetry there is nothing to adopt, and that is no failure.
    let _ = span.set_parent(parent);
}

fn remote(trace: &TraceContext) -> Option<SpanContext> {
    let mut parts = trace.as_str().split('-').skip(1);
    let id = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    Some(SpanContext::new(id, span, flags, true, TraceState::NONE))
}
