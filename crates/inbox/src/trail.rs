//! `GET /sync/where/{topic}?key=`: what became of an entity's latest change here.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use contracts::{Key, Pn, Problem, Stream, Topic};
use deadpool_postgres::Pool;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::status::{answer, unknown, unwell};
use crate::store::trail::{Passed, SinkTrail, read_sinks, read_trail};

/// The latest change of an entity at this consumer; what is not known is null.
#[derive(Debug, Serialize)]
struct Trail {
    topic: Topic,
    key: Key,
    stream: Option<Stream>,
    pn: Option<Pn>,
    #[serde(flatten)]
    passed: Passed,
    sinks: Vec<SinkTrail>,
    /// Whether some sink has yet to notice it.
    dirty: Option<bool>,
}

/// Stream and number are what the source's relay answers to the same question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrailQuery {
    key: Key,
    stream: Option<Stream>,
    pn: Option<Pn>,
}

/// The route, for everybody.
pub(crate) fn routes(pool: Pool) -> Router {
    Router::new().route("/sync/where/{topic}", get(serve)).with_state(pool)
}

async fn serve(
    State(pool): State<Pool>,
    topic: Result<Path<Topic>, PathRejection>,
    query: Result<Query<TrailQuery>, QueryRejection>,
) -> Response {
    let Path(topic) = match topic {
        Ok(topic) => topic,
        Err(rejection) => return malformed(&rejection.body_text()),
    };
    let Query(query) = match query {
        Ok(query) => query,
        Err(rejection) => return malformed(&rejection.body_text()),
    };
    match read(&pool, &topic, query).await {
        Ok(Some(trail)) => Json(trail).into_response(),
        Ok(None) => unknown(topic.as_str()),
        Err(error) => unwell(&error),
    }
}

async fn read(pool: &Pool, topic: &Topic, query: TrailQuery) -> Result<Option<Trail>, Error> {
    let TrailQuery { key, stream, pn } = query;
    let place = stream.clone().zip(pn);
    let client = pool.get().await?;
    let Some(passed) = read_trail(&client, topic, &key, place.as_ref()).await? else {
        return Ok(None);
    };
    let sinks = read_sinks(&client, topic, place.as_ref()).await?;
    let is_known = sinks.iter().all(|sink| sink.dirty.is_some());
    let is_dirty = sinks.iter().any(|sink| sink.dirty == Some(true));
    let dirty = (is_known || is_dirty).then_some(is_dirty);
    Ok(Some(Trail { topic: topic.clone(), key, stream, pn, passed, sinks, dirty }))
}

fn malformed(detail: &str) -> Response {
    let problem = Problem::new(400, "bad-request", "The request cannot be understood");
    answer(StatusCode::BAD_REQUEST, &problem.with_detail(detail))
}
