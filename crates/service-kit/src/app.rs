//! What stands between the network and a service's routes: limits, time, panics, problems, traces.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use opentelemetry::{
    KeyValue, global,
    metrics::{Histogram, Meter},
    propagation::Extractor,
};
use tokio::sync::Semaphore;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};
use tracing::{Instrument as _, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    Config, Problem,
    body::BodyLimits,
    connections::Connection,
    metrics,
    problem::{self, trace_id},
    tasks::panic_message,
    turns::Turns,
};

/// Every answer names its service, so that the gateway can tell it from a sidecar's own.
const SERVICE_HEADER: HeaderName = HeaderName::from_static("x-syncline-service");

/// A service's own routes inside all layers, with the probes beside them.
pub(crate) fn layered(
    name: &'static str,
    config: &Config,
    meter: &Meter,
    routes: Router,
    probes: Router,
) -> Router {
    let bodies = BodyLimits {
        bytes_max: config.http_body_bytes_max,
        pause_max: Duration::from_millis(config.http_body_pause_ms_max),
        ..BodyLimits::default()
    };
    let limits = RequestLimits {
        turns: Turns::new(config.http_requests_max),
        time_max: Duration::from_millis(config.http_request_ms_max),
        bodies,
    };
    let observer = Observer { durations: metrics::request_duration(meter) };
    routes
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(bodies.bytes_max))
        .layer(from_fn_with_state(limits, keep_limits))
        .merge(probes)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(speak_problem))
        .layer(from_fn_with_state(observer, observe))
        .layer(SetResponseHeaderLayer::overriding(SERVICE_HEADER, HeaderValue::from_static(name)))
}

#[derive(Clone)]
struct RequestLimits {
    turns: Turns,
    time_max: Duration,
    bodies: BodyLimits,
}

/// Bounds how many requests are in work, and for how long each may be.
async fn keep_limits(
    State(limits): State<RequestLimits>,
    request: Request,
    next: Next,
) -> Response {
    let connection = request.extensions().get::<Connection>().cloned();
    let Some(turn) = limits.turns.take(connection) else {
        return overloaded("as many requests as allowed are in work; come again in a moment");
    };
    let mut request = request.map(|body| turn.of_body(body));
    request.extensions_mut().insert(limits.bodies);
    let time = TimeLimit::default();
    request.extensions_mut().insert(time.clone());
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = time.over(limits.time_max) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "The request took too long")
                .detail(format!(
                    "given up after {} ms; it may or may not have taken effect",
                    limits.time_max.as_millis()
                ))
                .into_response()
        }
    }
}

fn overloaded(detail: &str) -> Response {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many requests")
        .detail(detail)
        .into_response()
}

/// How long a request may take; an extension of the request, so that its route can lift it.
#[derive(Debug, Clone, Default)]
struct TimeLimit {
    is_lifted: Arc<AtomicBool>,
}

impl TimeLimit {
    async fn over(&self, time_max: Duration) {
        tokio::time::sleep(time_max).await;
        if self.is_lifted.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

/// Streams in work at one time, per set of streamed routes: each takes as long as its caller sends,
/// so that the common permits alone would let them crowd out everything else.
const STREAMS_MAX: usize = 4;

/// The same routes for bodies of any size ([`BodyStream`](crate::BodyStream)): without the limit of
/// time, but still with those of silence and pace, and only a few of them in work at one time.
pub fn streamed<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    let permits = Arc::new(Semaphore::new(STREAMS_MAX));
    routes.route_layer(from_fn_with_state(permits, lift_limits))
}

async fn lift_limits(
    State(permits): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_permit) = permits.try_acquire() else {
        return overloaded("as many streams as allowed are in work; come again in a moment");
    };
    if let Some(time) = request.extensions().get::<TimeLimit>() {
        time.is_lifted.store(true, Ordering::Relaxed);
    }
    next.run(request).await
}

async fn no_route(request: Request) -> Problem {
    Problem::not_found(format!("there is no route {}", request.uri().path()))
}

async fn no_method(request: Request) -> Problem {
    let title = "The method is not allowed here";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title).detail(format!(
        "{} is not allowed on {}; header allow names what is",
        request.method(),
        request.uri().path()
    ))
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!(error = panic_message(panic.as_ref()), "a request panicked");
    Problem::internal().into_response()
}

/// Refusals of the HTTP library itself are plain text: the same words become a problem. Problems of
/// crates that do not know this one get what all problems here have.
async fn speak_problem(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    if !is_plain(response.headers()) {
        return problem::complete(response).await;
    }
    let (parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, 4096).await.unwrap_or_default();
    let title = status.canonical_reason().unwrap_or("Refused");
    let code = title.to_ascii_lowercase().replace(' ', "-");
    let mut problem = Problem::new(status, &code, title);
    if !text.is_empty() {
        problem = problem.detail(String::from_utf8_lossy(&text));
    }
    let mut spoken = problem.into_response();
    for (name, value) in &parts.headers {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            spoken.headers_mut().append(name, value.clone());
        }
    }
    spoken
}

fn is_plain(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_none_or(|value| value.as_bytes().starts_with(b"text/"))
}

#[derive(Clone)]
struct Observer {
    durations: Histogram<f64>,
}

/// One span and one measurement per request; the caller's trace goes on in it.
async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".to_owned());
    let method = known(request.method().as_str());
    let span = request_span(&request, method, &route);
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let labels = [
        KeyValue::new(metrics::METHOD, method),
        KeyValue::new(metrics::ROUTE, route),
        KeyValue::new(metrics::STATUS, i64::from(status.as_u16())),
    ];
    observer.durations.record(started.elapsed().as_secs_f64(), &labels);
    response
}

fn request_span(request: &Request<Body>, method: &'static str, route: &str) -> Span {
    let span = tracing::info_span!(
        "http",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        trace_id = Empty,
    );
    let parent =
        global::get_text_map_propagator(|carrier| carrier.extract(&Headers(request.headers())));
    // Fails only where no trace layer is installed, and then there is nothing to join.
    let _ = span.set_parent(parent);
    if let Some(trace_id) = trace_id(&span) {
        span.record("trace_id", trace_id);
    }
    span
}

/// Methods are labels, so that a caller who invents methods must not invent series.
fn known(method: &str) -> &'static str {
    ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.get(key)?;
        value.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
