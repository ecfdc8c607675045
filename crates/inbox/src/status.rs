//! `GET /sync/status` and `POST /sync/rebuild/{topic}`.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bus::Bus;
use contracts::{Pn, Problem, Stream, Term, Topic};
use deadpool_postgres::Pool;
use serde::{Deserialize, Serialize};

use crate::error::chain;
use crate::monitor::Watched;
use crate::store::Copy;
use crate::store::watch::{self, Deliveries, DirtyKeys, Ledger};
use crate::{Error, Monitor, trail};

#[derive(Clone)]
struct Desk {
    pool: Pool,
    monitor: Monitor,
}

/// The state of every copy in this service's database.
#[derive(Debug, Serialize)]
struct Status {
    service: Option<String>,
    ready: bool,
    topics: Vec<TopicStatus>,
    dirty: Vec<DirtyKeys>,
}

#[derive(Debug, Serialize)]
struct TopicStatus {
    topic: String,
    phase: &'static str,
    ready: bool,
    history: i64,
    rebuild: i64,
    root: Option<Term>,
    /// The last key of the last page, while a rebuild is under way.
    cursor: Option<String>,
    complaint: Option<String>,
    open_cases: i64,
    lag_events: i64,
    lag_seconds: f64,
    /// Since the source last answered this process.
    answered_seconds_ago: Option<f64>,
    error: Option<String>,
    streams: Vec<StreamStatus>,
}

#[derive(Debug, Serialize)]
struct StreamStatus {
    stream: Stream,
    position: Pn,
    term: Term,
    head: Option<Pn>,
    lag_events: i64,
    lag_seconds: f64,
    ledger: Ledger,
    contradictions: i64,
    deliveries: DeliveryCounts,
}

/// Deliveries that changed nothing, apart from the newest fraction of a second.
#[derive(Debug, Serialize)]
struct DeliveryCounts {
    duplicates: i64,
    left_to_reader: i64,
    unreadable: i64,
}

#[derive(Debug, Deserialize)]
struct RebuildQuery {
    /// Whether stored rows are known to be wrong, whatever their versions say.
    #[serde(default)]
    damaged: bool,
}

impl Monitor {
    /// `GET /sync/status` and `GET /sync/where/{topic}` for everybody; for holders of the app token
    /// `POST /sync/rebuild/{topic}`, with `?damaged=true` where rows are known to be wrong.
    pub fn routes(&self, pool: Pool, bus: &Bus) -> Router {
        let trail = trail::routes(pool.clone());
        let desk = Desk { pool, monitor: self.clone() };
        let commands = Router::new().route("/sync/rebuild/{topic}", post(rebuild));
        let commands = bus.guard(commands.with_state(desk.clone()));
        Router::new()
            .route("/sync/status", get(status))
            .with_state(desk)
            .merge(commands)
            .merge(trail)
    }
}

async fn status(State(desk): State<Desk>) -> Response {
    match read(&desk).await {
        Ok(status) => Json(status).into_response(),
        Err(error) => unwell(&error),
    }
}

async fn rebuild(
    State(desk): State<Desk>,
    Path(topic): Path<String>,
    Query(query): Query<RebuildQuery>,
) -> Response {
    let Ok(topic) = Topic::parse(&topic) else { return unknown(&topic) };
    let asked = if query.damaged { "damaged" } else { "asked" };
    match ask(&desk, &topic, asked).await {
        Ok(true) => {
            tracing::warn!(%topic, asked, "a rebuild is commanded");
            desk.monitor.ask();
            StatusCode::ACCEPTED.into_response()
        }
        Ok(false) => unknown(topic.as_str()),
        Err(error) => unwell(&error),
    }
}

async fn ask(desk: &Desk, topic: &Topic, asked: &str) -> Result<bool, Error> {
    let client = desk.pool.get().await?;
    watch::ask_rebuild(&client, topic, asked).await
}

async fn read(desk: &Desk) -> Result<Status, Error> {
    let client = desk.pool.get().await?;
    let ledgers = watch::read_ledgers(&client).await?;
    let topics = watch::read_topics(&client).await?;
    let dirty = watch::count_dirty(&client).await?;
    let topics = topics.into_iter().map(|(topic, copy, open_cases)| {
        let watched = desk.monitor.watched(&topic);
        let own = ledgers.iter().filter(|ledger| ledger.topic == topic);
        let streams = own.map(|ledger| stream_status(ledger.clone(), watched.as_ref())).collect();
        topic_status(topic, copy, open_cases, (watched.as_ref(), streams))
    });
    let topics = topics.collect();
    let service = desk.monitor.consumer().map(str::to_owned);
    Ok(Status { service, ready: desk.monitor.ready(), topics, dirty })
}

fn topic_status(
    topic: String,
    copy: Copy,
    open_cases: i64,
    (watched, streams): (Option<&Watched>, Vec<StreamStatus>),
) -> TopicStatus {
    let answered = watched.and_then(|watched| watched.answered);
    TopicStatus {
        topic,
        phase: copy.phase.as_str(),
        ready: watched.is_some_and(Watched::is_ready),
        history: copy.history,
        rebuild: copy.rebuild,
        root: copy.root,
        cursor: copy.cursor,
        complaint: copy.complaint,
        open_cases,
        lag_events: streams.iter().map(|stream| stream.lag_events).sum(),
        lag_seconds: streams.iter().map(|stream| stream.lag_seconds).fold(0.0, f64::max),
        answered_seconds_ago: answered.map(|at| at.elapsed().as_secs_f64()),
        error: watched.and_then(|watched| watched.error.clone()),
        streams,
    }
}

fn stream_status(ledger: Ledger, watched: Option<&Watched>) -> StreamStatus {
    let sight = watched.and_then(|watched| watched.streams.get(&ledger.stream));
    let head = sight.and_then(|sight| sight.head).map(|(head, _)| head);
    let behind = head.map_or(0, |head| head.get() - ledger.position.pn.get());
    let Deliveries { duplicates, left_to_reader, unreadable } = ledger.deliveries;
    StreamStatus {
        stream: ledger.stream.clone(),
        position: ledger.position.pn,
        term: ledger.position.term,
        head,
        lag_events: behind.max(0),
        lag_seconds: watched.map_or(0.0, |watched| watched.lag_seconds(&ledger.stream)),
        contradictions: ledger.contradictions,
        deliveries: DeliveryCounts { duplicates, left_to_reader, unreadable },
        ledger,
    }
}

pub(crate) fn unknown(topic: &str) -> Response {
    let detail = format!("this service follows no topic {topic:?}");
    let problem = Problem::new(404, "unknown-topic", "Unknown topic").with_detail(detail);
    answer(StatusCode::NOT_FOUND, &problem)
}

pub(crate) fn unwell(error: &Error) -> Response {
    tracing::error!(error = chain(error), "the state of the inbox cannot be read");
    let problem = Problem::new(503, "inbox-unavailable", "The inbox cannot be read now");
    answer(StatusCode::SERVICE_UNAVAILABLE, &problem)
}

pub(crate) fn answer(status: StatusCode, problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).expect("a problem is plain text and numbers");
    (status, [(CONTENT_TYPE, Problem::MEDIA_TYPE)], body).into_response()
}
