//! Routes, and the document that describes them.

use axum::{Json, Router, routing::get};
use deadpool_postgres::Pool;
use records::id;
use service_kit::{Problem, ProblemBody};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

mod bodies;
mod imports;
mod locations;
mod reservations;
mod stock;

use crate::domain::StockKey;

/// All routes over this database, with the document that describes them.
pub(crate) fn routes(pool: Pool) -> Router {
    let (router, document) = described().split_for_parts();
    router.with_state(pool).route("/openapi.json", get(|| async { Json(document) }))
}

/// The OpenAPI document.
pub(crate) fn document() -> String {
    let (_, document) = described().split_for_parts();
    document.to_pretty_json().expect("the document has string keys only")
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "warehouse",
        description = "What is in stock where, and what of it is reserved.",
        version = "1"
    ),
    components(schemas(ProblemBody))
)]
struct Document;

fn described() -> OpenApiRouter<Pool> {
    let mut document = Document::openapi();
    // The macro writes one without a name where the package has none.
    document.info.license = None;
    OpenApiRouter::with_openapi(document)
        .routes(routes!(stock::list_stock))
        .routes(routes!(stock::get_stock, stock::put_stock, stock::delete_stock))
        .routes(routes!(stock::adjust_stock))
        .routes(routes!(locations::get_location, locations::put_location))
        .routes(routes!(locations::delete_location))
        .routes(routes!(reservations::reserve))
        .routes(routes!(reservations::get_reservation, reservations::release))
        .routes(routes!(reservations::fulfil))
        .merge(imports::described())
}

/// The stock that a path names.
fn stock_key((sku, location): &(String, String)) -> Result<StockKey, Problem> {
    Ok(StockKey { sku: id(sku, "sku")?, location: id(location, "location")? })
}
