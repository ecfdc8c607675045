//! Logs, traces and metrics: started once, shut down last.

use std::{io::IsTerminal as _, time::Duration};

use opentelemetry::{
    Context, KeyValue, global,
    metrics::{Meter, MeterProvider as _},
    trace::{Link, SpanKind, TraceContextExt as _, TraceId, TracerProvider as _},
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    propagation::TraceContextPropagator,
    trace::{Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample},
};
use tokio::task::spawn_blocking;
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::LevelFilter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    Error,
    config::{LogFormat, Telemetry as Config},
};

/// Longest that one batch of spans may take to be sent; meanwhile further ones wait, and are
/// dropped when too many do.
const EXPORT_MAX: Duration = Duration::from_secs(5);
/// Longest that the last spans may hold up the end of the process.
const LAST_SPANS_MAX: Duration = Duration::from_secs(2);

/// The running telemetry of a process.
#[derive(Debug)]
pub(crate) struct Telemetry {
    registry: prometheus::Registry,
    meters: SdkMeterProvider,
    tracers: SdkTracerProvider,
}

impl Telemetry {
    /// Starts logs, traces and metrics. A second start in one process keeps the first log
    /// subscriber, which only tests do.
    pub(crate) fn start(name: &'static str, config: &Config) -> Result<Self, Error> {
        let resource = Resource::builder().with_service_name(name).build();
        let registry = prometheus::Registry::new();
        // Scope and target labels would make our series differ from the documented ones.
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|e| Error::Telemetry(e.into()))?;
        let meters = SdkMeterProvider::builder()
            .with_reader(exporter)
            .with_resource(resource.clone())
            .build();
        global::set_meter_provider(meters.clone());

        let tracers = SdkTracerProvider::builder().with_resource(resource);
        let tracers = match config.otlp_endpoint.as_deref().filter(|url| !url.is_empty()) {
            Some(endpoint) => {
                let exporter = opentelemetry_otlp::SpanExporter::builder()
                    .with_tonic()
                    .with_endpoint(endpoint)
                    .with_timeout(EXPORT_MAX)
                    .build()
                    .map_err(|e| Error::Telemetry(e.into()))?;
                tracers.with_batch_exporter(exporter).with_sampler(Worthwhile)
            }
            // Ids travel in envelopes and stand in logs and problems all the same; that nobody
            // records them stands in their flags, and saves everybody the work of it.
            None => tracers.with_sampler(Sampler::AlwaysOff),
        };
        let tracers = tracers.build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        subscribe(config, &tracers, name)?;
        Ok(Self { registry, meters, tracers })
    }

    /// What `/metrics` gathers from.
    pub(crate) fn registry(&self) -> prometheus::Registry {
        self.registry.clone()
    }

    /// Where this crate's own instruments come from; other crates ask the global provider.
    pub(crate) fn meter(&self) -> Meter {
        self.meters.meter("service-kit")
    }

    /// Sends what is left, if the collector takes it in time; nothing is traced or counted
    /// afterwards.
    pub(crate) async fn shutdown(self) {
        let tracers = self.tracers;
        // It waits for another thread, whose connection needs this runtime.
        let sent = spawn_blocking(move || tracers.shutdown_with_timeout(LAST_SPANS_MAX)).await;
        let sent = sent.map_err(|error| error.to_string());
        if let Err(error) = sent.and_then(|sent| sent.map_err(|error| error.to_string())) {
            tracing::warn!(error, "could not send the last traces");
        }
        if let Err(error) = self.meters.shutdown() {
            tracing::warn!(error = %error, "could not close the metrics");
        }
    }
}

fn subscribe(
    config: &Config,
    tracers: &SdkTracerProvider,
    name: &'static str,
) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&config.log_filter)
        .map_err(|source| Error::LogFilter { filter: config.log_filter.clone(), source })?;
    let json = match config.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stdout().is_terminal(),
    };
    let lines = tracing_subscriber::fmt::layer();
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    } else {
        lines.with_target(true).boxed()
    };
    // Spans of libraries below this level would cost on every request.
    let traces = tracing_opentelemetry::layer()
        .with_tracer(tracers.tracer(name))
        .with_filter(LevelFilter::INFO);
    let subscriber = tracing_subscriber::registry().with(traces).with(lines.with_filter(filter));
    // Fails only where a subscriber is there already: a second start in one test process.
    if subscriber.try_init().is_err() {
        tracing::debug!("logs were set up before");
    }
    Ok(())
}

/// Records what its caller records. Of the requests of callers who trace nothing, those for the API
/// begin a trace; probes, and the questions that services ask each other all the time, do not.
#[derive(Debug, Clone)]
struct Worthwhile;

/// Where the API's routes begin, and the attribute that names a route.
const API: &str = "/api/";
const ROUTE: &str = "http.route";

impl ShouldSample for Worthwhile {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _trace: TraceId,
        _name: &str,
        _kind: &SpanKind,
        attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let parent = parent.map(|context| context.span().span_context().clone());
        let parent = parent.filter(opentelemetry::trace::SpanContext::is_valid);
        let is_worthwhile = match &parent {
            Some(parent) => parent.is_sampled(),
            None => attributes
                .iter()
                .find(|attribute| attribute.key.as_str() == ROUTE)
                .is_none_or(|route| route.value.as_str().starts_with(API)),
        };
        SamplingResult {
            decision: if is_worthwhile {
                SamplingDecision::RecordAndSample
            } else {
                SamplingDecision::Drop
            },
            attributes: Vec::new(),
            trace_state: parent.map(|parent| parent.trace_state().clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};

    use super::*;

    fn decision(parent: Option<TraceFlags>, route: Option<&'static str>) -> SamplingDecision {
        let parent = parent.map(|flags| {
            let (trace, span) = (TraceId::from(1), SpanId::from(1));
            let remote = SpanContext::new(trace, span, flags, true, TraceState::NONE);
            Context::new().with_remote_span_context(remote)
        });
        let route = route.map(|route| KeyValue::new(ROUTE, route));
        let (trace, attributes) = (TraceId::from(1), Vec::from_iter(route));
        Worthwhile
            .should_sample(parent.as_ref(), trace, "", &SpanKind::Server, &attributes, &[])
            .decision
    }

    #[test]
    fn a_trace_begins_with_what_somebody_asked_of_the_api() {
        assert_eq!(decision(None, Some("/api/v1/a")), SamplingDecision::RecordAndSample);
        assert_eq!(decision(None, None), SamplingDecision::RecordAndSample, "no request at all");
        assert_eq!(decision(None, Some("/healthz")), SamplingDecision::Drop);
    }

    #[test]
    fn what_its_caller_records_is_recorded_and_nothing_else_of_a_caller_who_says() {
        let (yes, no) = (Some(TraceFlags::SAMPLED), Some(TraceFlags::NOT_SAMPLED));
        assert_eq!(decision(yes, Some("/events/a")), SamplingDecision::RecordAndSample);
        assert_eq!(decision(no, Some("/api/v1/a")), SamplingDecision::Drop);
    }
}
