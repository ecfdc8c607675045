//! The routes of the outside: each checks what would be unsafe to pass on, then asks the owner.

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use service_kit::Problem;
use validator::{Validate, ValidationError};

use crate::hop::{self, Question};
use crate::openapi;
use crate::parts::{CATEGORY, PRODUCT, Part, Parts, SEARCH};

/// The gateway's routes; a body above the limit is refused here, without reading on.
pub fn routes(parts: Parts, body_bytes_max: usize) -> Router {
    let body_max = BodyMax(body_bytes_max);
    Router::new()
        .route(PRODUCT, get(product).put(product).delete(product))
        .route(CATEGORY, get(category).put(category).delete(category))
        .route(SEARCH, get(search))
        .route("/openapi.json", get(document))
        .with_state(Gate { parts, body_max })
        .layer(DefaultBodyLimit::max(body_bytes_max))
}

#[derive(Debug, Clone)]
struct Gate {
    parts: Parts,
    body_max: BodyMax,
}

#[derive(Debug, Clone, Copy)]
struct BodyMax(usize);

#[derive(Debug, Deserialize, Validate)]
struct ProductPath {
    #[validate(length(min = 1, max = 64), custom(function = plain_segment))]
    sku: String,
}

#[derive(Debug, Deserialize, Validate)]
struct CategoryPath {
    #[validate(length(min = 1, max = 64), custom(function = plain_segment))]
    id: String,
}

async fn product(
    State(gate): State<Gate>,
    Path(path): Path<ProductPath>,
    request: Request,
) -> Result<Response, Problem> {
    path.validate()?;
    pass(&gate.parts.catalog, gate.body_max, request).await
}

async fn category(
    State(gate): State<Gate>,
    Path(path): Path<CategoryPath>,
    request: Request,
) -> Result<Response, Problem> {
    path.validate()?;
    pass(&gate.parts.catalog, gate.body_max, request).await
}

async fn search(State(gate): State<Gate>, request: Request) -> Result<Response, Problem> {
    pass(&gate.parts.search_indexer, gate.body_max, request).await
}

async fn document(State(gate): State<Gate>) -> Response {
    axum::Json(openapi::document(&gate.parts).await).into_response()
}

/// The sidecar decodes a path and resolves dots in it, so that a key with a slash or of dots alone
/// could reach routes of the owner that are not for the outside.
fn plain_segment(raw: &str) -> Result<(), ValidationError> {
    let plain = raw.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if plain && !matches!(raw, "." | "..") {
        return Ok(());
    }
    let message = "must consist of letters, digits, dots, underscores and hyphens";
    Err(ValidationError::new("pattern").with_message(message.into()))
}

async fn pass(part: &Part, body_max: BodyMax, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let announced = body.size_hint().lower();
    if usize::try_from(announced).is_ok_and(|bytes| bytes > body_max.0) {
        return Err(too_large(body_max));
    }
    let (method, uri, headers) = (parts.method.clone(), parts.uri.clone(), parts.headers.clone());
    let body = Bytes::from_request(Request::from_parts(parts, body), &()).await;
    let body = body.map_err(|refused| match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(body_max),
        status => Problem::new(status, "body-broken-off", "The request's body broke off"),
    })?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    hop::ask(part, Question { method, path, headers, body }).await
}

fn too_large(body_max: BodyMax) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The request's body is too large")
        .detail(format!("a body may have at most {} bytes; nothing was stored", body_max.0))
}
