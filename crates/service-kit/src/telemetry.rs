//! Logs, traces and metrics: started once, shut down last.

use std::io::IsTerminal as _;

use opentelemetry::{
    global,
    metrics::{Meter, MeterProvider as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource, metrics::SdkMeterProvider, propagation::TraceContextPropagator,
    trace::SdkTracerProvider,
};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::LevelFilter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    Error,
    config::{LogFormat, Telemetry as Config},
};

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

        let mut tracers = SdkTracerProvider::builder().with_resource(resource);
        if let Some(endpoint) = config.otlp_endpoint.as_deref().filter(|url| !url.is_empty()) {
            let exporter = opentelemetry_otlp::SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .build()
                .map_err(|e| Error::Telemetry(e.into()))?;
            tracers = tracers.with_batch_exporter(exporter);
        }
        // Without an exporter too: trace ids travel in envelopes and stand in logs and problems.
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

    /// Sends what is left; nothing is traced or counted afterwards.
    pub(crate) fn shutdown(self) {
        if let Err(error) = self.tracers.shutdown() {
            tracing::warn!(error = %error, "could not send the last traces");
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
