//! `GET /api/v1/search`, and what `/sync/status` says of the index; errors to problems.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Map, Value};
use service_kit::{Problem, ProblemBody, chain};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

mod bodies;
mod question;

use self::bodies::{Answer, answer};
use self::question::{Parameters, question};
use crate::index::Tantivy;
use crate::indexer::{Error, IndexStatus, Indexer};

type Documents = Arc<Indexer<Tantivy>>;

const STATUS_PATH: &str = "/sync/status";
const STATUS_BYTES_MAX: usize = 4 << 20;

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Syncline search",
    description = "Finds products by words, categories, price and stock, with facets."
))]
struct Document;

/// The routes of the search, and their description at `/openapi.json`.
pub(crate) fn routes(documents: Documents) -> Router {
    let (routes, description) = described().split_for_parts();
    let description = get(move || async move { Json(description) });
    routes.route("/openapi.json", description).with_state(documents)
}

/// The description of the routes.
pub(crate) fn openapi() -> OpenApi {
    described().into_openapi()
}

/// `/sync/status` with the index's state added to that of the copies, and with how many products
/// are waited for.
pub(crate) fn with_index(status: Router, documents: Documents) -> Router {
    status.layer(from_fn_with_state(documents, add_index))
}

/// The index in `/sync/status`.
#[derive(Debug, Serialize)]
struct ShownIndex {
    #[serde(flatten)]
    status: IndexStatus,
    /// How many commits this process has made.
    commits: u64,
}

async fn add_index(State(documents): State<Documents>, request: Request, next: Next) -> Response {
    let is_status = request.uri().path() == STATUS_PATH;
    let response = next.run(request).await;
    if !is_status || !response.status().is_success() {
        return response;
    }
    match status(&documents, response.into_body()).await {
        Ok(status) => Json(status).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn status(documents: &Documents, copies: Body) -> Result<Map<String, Value>, Problem> {
    // The status of a few topics is small, and always an object.
    let bytes = to_bytes(copies, STATUS_BYTES_MAX).await.map_err(|_| Problem::internal())?;
    let mut status: Map<_, _> = serde_json::from_slice(&bytes).map_err(|_| Problem::internal())?;
    let index = ShownIndex { status: documents.status(), commits: documents.commits() };
    let index = serde_json::to_value(index);
    status.insert("index".to_owned(), index.expect("names and numbers are JSON"));
    status.insert("waiting".to_owned(), documents.waiting().await?.into());
    Ok(status)
}

fn described() -> OpenApiRouter<Documents> {
    let mut document = Document::openapi();
    // The macro writes one without a name where the package has none.
    document.info.license = None;
    OpenApiRouter::with_openapi(document).routes(routes!(search))
}

/// Find products.
#[utoipa::path(
    get,
    path = "/api/v1/search",
    params(Parameters),
    responses(
        (status = 200, description = "what was found", body = Answer),
        (status = 400, description = "a parameter is unknown or breaks a rule; errors names it",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "our fault; the log names the cause",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "the index is being opened or rebuilt; come again",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn search(
    State(documents): State<Documents>,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Json<Answer>, Problem> {
    let question = question(given)?;
    let page = documents.search(question.clone()).await?;
    Ok(Json(answer(&question, page)))
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unsound => Self::unavailable("the search index is being opened or rebuilt"),
            Error::Waiting => Self::unavailable("another process answers searches"),
            Error::Foreign | Error::Index(_) => {
                tracing::error!(error = chain(&error), "a search failed");
                Self::unavailable("the search index is being repaired")
            }
            Error::Store(_) | Error::Pool(_) => {
                tracing::error!(error = chain(&error), "a search failed");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_openapi_3_1_and_names_every_parameter() {
        let json = serde_json::to_value(openapi()).unwrap();
        assert_eq!(json["openapi"], "3.1.0");
        let parameters = json["paths"]["/api/v1/search"]["get"]["parameters"].as_array().unwrap();
        let expected = [
            "q",
            "category",
            "price_min",
            "price_max",
            "currency",
            "in_stock",
            "sort",
            "after",
            "limit",
        ];
        let names: Vec<_> = parameters.iter().map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected);
    }
}
