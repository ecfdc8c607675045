//! Carries traces: the current one out of a process, and those of a batch's changes into its span.

use contracts::TraceContext;
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Most other traces that the span of one batch is linked to.
const LINKS_MAX: usize = 32;

/// The current span, for those who go on with its trace elsewhere; none without telemetry.
pub fn current() -> Option<TraceContext> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| written(span))
}

fn written(span: &SpanContext) -> TraceContext {
    let flags = span.trace_flags().to_u8();
    let text = format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
    TraceContext::parse(&text).expect("valid ids in their own form are well-formed")
}

/// The traces of a batch's changes that somebody records: each once, and no more than a span takes.
/// None are looked for unless the batch itself goes on with one of them, its first.
pub fn of_batch<'a>(
    own: Option<&TraceContext>,
    changes: impl Iterator<Item = Option<&'a TraceContext>>,
) -> Vec<TraceContext> {
    let Some(own) = own else { return Vec::new() };
    let mut traces = vec![own.clone()];
    if own.is_sampled() {
        for trace in changes.flatten().filter(|trace| trace.is_sampled()) {
            if traces.len() > LINKS_MAX {
                break;
            }
            if !traces.contains(trace) {
                traces.push(trace.clone());
            }
        }
    }
    traces
}

/// Lets a span go on with the first of these traces, and links it to the others.
pub fn join(span: &Span, traces: &[TraceContext]) {
    let mut remote = traces.iter().filter_map(remote);
    let Some(parent) = remote.next() else { return };
    // Without telemetry there is nothing to join, and that is no failure.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    for link in remote.take(LINKS_MAX) {
        span.add_link(link);
    }
}

fn remote(trace: &TraceContext) -> Option<SpanContext> {
    let mut parts = trace.as_str().split('-').skip(1);
    let id = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    Some(SpanContext::new(id, span, flags, true, TraceState::NONE))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, Span as Open, SpanData, SpanProcessor};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Keeps what ended.
    #[derive(Debug, Clone, Default)]
    struct Ended(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Ended {
        fn on_start(&self, _span: &mut Open, _context: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().unwrap().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    fn trace(number: usize, flags: &str) -> TraceContext {
        let text = format!("00-{:032x}-{:016x}-{flags}", number + 1, number + 1);
        TraceContext::parse(&text).unwrap()
    }

    #[test]
    fn a_batch_goes_on_with_one_trace_and_is_linked_to_a_bounded_number_of_others() {
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder().with_span_processor(ended.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let changes: Vec<_> = (0..100).map(|number| trace(number / 2, "01")).collect();
        let traces = of_batch(changes.first(), changes.iter().map(Some));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("batch");
            join(&span, &traces);
            span.in_scope(|| assert!(current().unwrap().as_str().contains(&format!("{:032x}", 1))));
        });
        let spans = ended.0.lock().unwrap();
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0].parent_span_id, SpanId::from(1));
        let linked: Vec<_> = spans[0].links.iter().map(|l| l.span_context.trace_id()).collect();
        let expected = (2..2 + LINKS_MAX as u128).map(TraceId::from);
        assert_eq!(linked, Vec::from_iter(expected));
    }

    #[test]
    fn nothing_is_looked_for_where_nobody_records() {
        let quiet = trace(0, "00");
        let mut asked = 0;
        let changes = (1..9).map(|_| None).inspect(|_| asked += 1);
        assert_eq!(of_batch(Some(&quiet), changes), [quiet]);
        assert_eq!(asked, 0);
        assert_eq!(of_batch(None, std::iter::empty()), []);
        assert_eq!(current(), None);
    }
}
