//! The three calls over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use contracts::calls::{FeedResponse, SnapshotResponse, SyncRequest, SyncResponse};
use contracts::{Key, Pn, Problem, Source, Stream, Term, Topic};

use super::shared::Shared;
use super::trail::{self, Trail};
use super::{Relay, RelayError, feed, snapshot, sync};

/// The three calls for these relays: `POST /sources/{source}/sync`, `GET /streams/{stream}` and
/// `GET /snapshot/{topic}`. Whoever serves them asks for the app token.
pub fn routes(relays: &[Relay]) -> Router {
    Router::new()
        .route("/sources/{source}/sync", post(serve_sync))
        .route("/streams/{stream}", get(serve_feed))
        .route("/snapshot/{topic}", get(serve_snapshot))
        .with_state(Arc::new(sources(relays)))
}

/// `GET /where/{topic}?key=`, for everybody: where the latest change of an entity is.
pub fn trail_routes(relays: &[Relay]) -> Router {
    let sources = Arc::new(sources(relays));
    Router::new().route("/where/{topic}", get(serve_trail)).with_state(sources)
}

fn sources(relays: &[Relay]) -> Sources {
    relays.iter().map(|relay| (relay.source().clone(), Arc::clone(&relay.shared))).collect()
}

type Sources = BTreeMap<Source, Arc<Shared>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedQuery {
    after: Pn,
    term: Term,
    #[serde(default = "default_limit")]
    limit: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotQuery {
    after: Option<Key>,
    key: Option<Key>,
    #[serde(default = "default_limit")]
    limit: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrailQuery {
    key: Key,
}

const fn default_limit() -> i64 {
    1_000
}

async fn serve_sync(
    State(sources): State<Arc<Sources>>,
    source: Result<Path<Source>, PathRejection>,
    body: Result<Json<SyncRequest>, JsonRejection>,
) -> Result<Json<SyncResponse>, RelayError> {
    let Path(source) = source.map_err(|e| RelayError::BadRequest(e.body_text()))?;
    let Json(request) = body.map_err(|e| RelayError::BadRequest(e.body_text()))?;
    sync::sync(find(&sources, &source)?, request).await.map(Json)
}

async fn serve_feed(
    State(sources): State<Arc<Sources>>,
    stream: Result<Path<Stream>, PathRejection>,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Json<FeedResponse>, RelayError> {
    let Path(stream) = stream.map_err(|e| RelayError::BadRequest(e.body_text()))?;
    let Query(query) = query.map_err(|e| RelayError::BadRequest(e.body_text()))?;
    let shared = find(&sources, &owner(stream.as_str())?)?;
    feed::feed(shared, &stream, (query.after, query.term), query.limit).await.map(Json)
}

async fn serve_snapshot(
    State(sources): State<Arc<Sources>>,
    topic: Result<Path<Topic>, PathRejection>,
    query: Result<Query<SnapshotQuery>, QueryRejection>,
) -> Result<Json<SnapshotResponse>, RelayError> {
    let Path(topic) = topic.map_err(|e| RelayError::BadRequest(e.body_text()))?;
    let Query(query) = query.map_err(|e| RelayError::BadRequest(e.body_text()))?;
    let shared = find(&sources, &topic.source())?;
    let answer = match &query.key {
        Some(key) => snapshot::single(shared, &topic, key).await,
        None => snapshot::page(shared, &topic, query.after.as_ref(), query.limit).await,
    };
    answer.map(Json)
}

async fn serve_trail(
    State(sources): State<Arc<Sources>>,
    topic: Result<Path<Topic>, PathRejection>,
    query: Result<Query<TrailQuery>, QueryRejection>,
) -> Result<Json<Trail>, RelayError> {
    let Path(topic) = topic.map_err(|e| RelayError::BadRequest(e.body_text()))?;
    let Query(query) = query.map_err(|e| RelayError::BadRequest(e.body_text()))?;
    let shared = find(&sources, &topic.source())?;
    trail::trail(shared, topic, query.key).await.map(Json)
}

fn find<'a>(sources: &'a Sources, source: &Source) -> Result<&'a Arc<Shared>, RelayError> {
    sources.get(source).ok_or_else(|| RelayError::UnknownSource(source.clone()))
}

/// Like a topic's, a stream's name begins with its source.
fn owner(stream: &str) -> Result<Source, RelayError> {
    let (source, _) = stream.split_once('.').unwrap_or((stream, ""));
    Source::parse(source).map_err(|error| RelayError::BadRequest(error.to_string()))
}

impl IntoResponse for RelayError {
    fn into_response(self) -> Response {
        let problem = Problem::from(&self);
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, Problem::MEDIA_TYPE)], Json(problem)).into_response()
    }
}
