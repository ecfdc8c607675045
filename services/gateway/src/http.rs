//! The routes of the outside: each checks what would be unsafe to pass on, then asks the owner.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Deserialize;
use service_kit::Problem;
use validator::{Validate, ValidationError};

use crate::hop::{self, Question};
use crate::openapi;
use crate::owners::{CATEGORY, Owners, PRODUCT, SEARCH};

/// The gateway's routes; a body above the service's limit is refused here.
pub fn routes(owners: Owners) -> Router {
    Router::new()
        .route(PRODUCT, get(product).put(product).delete(product))
        .route(CATEGORY, get(category).put(category).delete(category))
        .route(SEARCH, get(search))
        .route("/openapi.json", get(document))
        .with_state(owners)
}

#[derive(Debug, Deserialize, Validate)]
struct ProductPath {
    #[validate(
        length(min = 1, max = 64, message = "must have 1 to 64 characters"),
        custom(function = plain_segment)
    )]
    sku: String,
}

#[derive(Debug, Deserialize, Validate)]
struct CategoryPath {
    #[validate(
        length(min = 1, max = 64, message = "must have 1 to 64 characters"),
        custom(function = plain_segment)
    )]
    id: String,
}

async fn product(
    State(owners): State<Owners>,
    Path(path): Path<ProductPath>,
    question: Question,
) -> Result<Response, Problem> {
    path.validate()?;
    hop::ask(&owners.catalog, question).await
}

async fn category(
    State(owners): State<Owners>,
    Path(path): Path<CategoryPath>,
    question: Question,
) -> Result<Response, Problem> {
    path.validate()?;
    hop::ask(&owners.catalog, question).await
}

async fn search(State(owners): State<Owners>, question: Question) -> Result<Response, Problem> {
    hop::ask(&owners.search_indexer, question).await
}

async fn document(State(owners): State<Owners>) -> Response {
    axum::Json(openapi::document(&owners).await).into_response()
}

/// The sidecar decodes a path and resolves dots in it, so that a key with a slash or of dots alone
/// could reach routes of the owner that are not for the outside.
fn plain_segment(raw: &str) -> Result<(), ValidationError> {
    let refuse =
        |code, message: &'static str| Err(ValidationError::new(code).with_message(message.into()));
    if matches!(raw, "." | "..") {
        return refuse("reserved", "must not consist of dots alone");
    }
    if raw.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Ok(());
    }
    refuse("illegal-character", "must consist of letters, digits, dots, underscores and hyphens")
}
