//! `/healthz`, `/readyz`, `/metrics` and `/version`: how a service is watched from outside.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use contracts::Topic;
use futures::{FutureExt as _, future::BoxFuture};
use serde::Serialize;

use crate::Problem;

/// A check that has not answered by then counts as not ready.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// Whether one part of a service is ready, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can do its work.
    Ready,
    /// It cannot, for this reason.
    NotReady(String),
}

impl From<bool> for Readiness {
    fn from(ready: bool) -> Self {
        if ready { Self::Ready } else { Self::NotReady("not yet".to_owned()) }
    }
}

impl<E: fmt::Display> From<Result<(), E>> for Readiness {
    fn from(outcome: Result<(), E>) -> Self {
        outcome.map_or_else(|reason| Self::NotReady(reason.to_string()), |()| Self::Ready)
    }
}

type Check = Arc<dyn Fn() -> BoxFuture<'static, Readiness> + Send + Sync>;

/// What the probes look at; clones share it.
#[derive(Clone)]
pub(crate) struct Probes {
    name: &'static str,
    serving: Arc<AtomicBool>,
    checks: Arc<Mutex<Vec<(&'static str, Check)>>>,
    registry: prometheus::Registry,
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    checks: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The form is that of a service that follows topics: there each topic has streams as well.
#[derive(Serialize)]
struct Status {
    service: &'static str,
    ready: bool,
    topics: Vec<OwnTopic>,
}

#[derive(Clone, Serialize)]
struct OwnTopic {
    topic: Topic,
}

#[derive(Serialize)]
struct Version {
    service: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'static str>,
}

impl Probes {
    pub(crate) fn new(name: &'static str, registry: prometheus::Registry) -> Self {
        Self { name, registry, serving: Arc::default(), checks: Arc::default() }
    }

    pub(crate) fn add<F, Fut>(&self, name: &'static str, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<Readiness>,
    {
        let check: Check = Arc::new(move || check().map(Into::into).boxed());
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push((name, check));
    }

    /// Ready from here on, as far as the checks agree.
    pub(crate) fn open(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// Not ready from here on, whatever the checks say.
    pub(crate) fn close(&self) {
        self.serving.store(false, Ordering::Release);
    }

    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(gather))
            .route("/version", get(version))
            .with_state(self)
    }

    /// `GET /sync/status` of a service that neither relays nor follows: what it owns.
    pub(crate) fn status(self, topics: &[Topic]) -> Router {
        let topics: Vec<_> = topics.iter().cloned().map(|topic| OwnTopic { topic }).collect();
        let status = move |State(probes): State<Self>| async move {
            let ready = probes.report().await.ready;
            Json(Status { service: probes.name, ready, topics })
        };
        Router::new().route("/sync/status", get(status)).with_state(self)
    }

    async fn report(&self) -> Report {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lines = checks.into_iter().map(|(name, check)| line(name, check));
        let mut lines = futures::future::join_all(lines).await;
        let serving = self.serving.load(Ordering::Acquire);
        let reason = (!serving).then(|| "starting or shutting down".to_owned());
        lines.insert(0, Line { name: "serving", ready: serving, reason });
        Report { ready: lines.iter().all(|line| line.ready), checks: lines }
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").field("name", &self.name).finish_non_exhaustive()
    }
}

async fn line(name: &'static str, check: Check) -> Line {
    match tokio::time::timeout(CHECK_LIMIT, check()).await {
        Ok(Readiness::Ready) => Line { name, ready: true, reason: None },
        Ok(Readiness::NotReady(reason)) => Line { name, ready: false, reason: Some(reason) },
        Err(_) => Line { name, ready: false, reason: Some("did not answer in time".to_owned()) },
    }
}

async fn readyz(State(probes): State<Probes>, RawQuery(query): RawQuery) -> Response {
    let report = probes.report().await;
    let verbose = query.is_some_and(|query| {
        query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose="))
    });
    if verbose {
        let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        return (status, Json(report)).into_response();
    }
    if report.ready {
        return "ok".into_response();
    }
    let late: Vec<_> = report.checks.iter().filter(|line| !line.ready).map(|l| l.name).collect();
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready")
        .detail(format!("waiting for {}", late.join(", ")))
        .into_response()
}

async fn gather(State(probes): State<Probes>) -> Response {
    let families = probes.registry.gather();
    match prometheus::TextEncoder::new().encode_to_string(&families) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "could not write the metrics");
            Problem::internal().into_response()
        }
    }
}

async fn version(State(probes): State<Probes>) -> Json<Version> {
    Json(Version {
        service: probes.name,
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("SYNCLINE_COMMIT"),
    })
}
