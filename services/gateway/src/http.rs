//! The routes of the outside: each checks what would be unsafe to pass on, then asks the owner; one
//! composes what several owners say.

use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on, post};
use axum::{Json, Router};

use contracts::Id;
use http::Uri;
use service_kit::{BodyStream, Problem, ProblemBody, streamed};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::hop::{self, Question};
use crate::import;
use crate::openapi;
use crate::owners::{
    ADJUSTMENTS, CATEGORIES_IMPORT, CATEGORY, FULFILMENT, LOCATION, LOCATIONS_IMPORT, Owner,
    Owners, PRICE, PRICES_IMPORT, PRODUCT, PRODUCTS_IMPORT, PROMOTION, PROMOTIONS_IMPORT,
    RESERVATION, RESERVATIONS, SEARCH, STOCK, STOCK_IMPORT, STOCK_OF,
};
use crate::view::{self, ViewBody, Views};

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "Syncline gateway", description = "Composed views."))]
struct Document;

/// The routes whose answers owners give; a body above the service's limit is refused here, but for
/// imports.
pub fn routes(owners: Owners) -> Router {
    let record = MethodFilter::GET.or(MethodFilter::PUT).or(MethodFilter::DELETE);
    let held = MethodFilter::GET.or(MethodFilter::DELETE);
    Router::new()
        .route(PRODUCT, pass(record, catalog))
        .route(CATEGORY, pass(record, catalog))
        .route(PRICE, pass(record, pricing))
        .route(PROMOTION, pass(record, pricing))
        .route(LOCATION, pass(record, warehouse))
        .route(STOCK_OF, pass(MethodFilter::GET, warehouse))
        .route(STOCK, pass(record, warehouse))
        .route(ADJUSTMENTS, pass(MethodFilter::POST, warehouse))
        .route(RESERVATIONS, pass(MethodFilter::POST, warehouse))
        .route(RESERVATION, pass(held, warehouse))
        .route(FULFILMENT, pass(MethodFilter::POST, warehouse))
        .route(SEARCH, pass(MethodFilter::GET, search_indexer))
        .merge(streamed(imports()))
        .route("/openapi.json", get(document))
        .with_state(owners)
}

/// What the gateway itself composes.
pub(crate) fn view_routes(views: Views) -> Router {
    described().split_for_parts().0.with_state(views)
}

/// The description of what the gateway itself answers.
pub(crate) fn openapi() -> OpenApi {
    described().into_openapi()
}

fn imports() -> Router<Owners> {
    Router::new()
        .route(PRODUCTS_IMPORT, stream(catalog))
        .route(CATEGORIES_IMPORT, stream(catalog))
        .route(PRICES_IMPORT, stream(pricing))
        .route(PROMOTIONS_IMPORT, stream(pricing))
        .route(LOCATIONS_IMPORT, stream(warehouse))
        .route(STOCK_IMPORT, stream(warehouse))
}

fn described() -> OpenApiRouter<Views> {
    let mut document = Document::openapi();
    // The macro writes one without a name where the package has none.
    document.info.license = None;
    OpenApiRouter::with_openapi(document).routes(routes!(product_view))
}

type Choose = fn(&Owners) -> &Owner;

const fn catalog(owners: &Owners) -> &Owner {
    &owners.catalog
}

const fn pricing(owners: &Owners) -> &Owner {
    &owners.pricing
}

const fn warehouse(owners: &Owners) -> &Owner {
    &owners.warehouse
}

const fn search_indexer(owners: &Owners) -> &Owner {
    &owners.search_indexer
}

/// A route whose answer this owner gives.
fn pass(methods: MethodFilter, owner: Choose) -> MethodRouter<Owners> {
    on(methods, async move |_: Ids, State(owners): State<Owners>, question: Question| {
        hop::ask(owner(&owners), question).await
    })
}

fn stream(owner: Choose) -> MethodRouter<Owners> {
    post(
        async move |State(owners): State<Owners>,
                    uri: Uri,
                    headers: HeaderMap,
                    body: BodyStream| {
            import::pass(owner(&owners), (&uri, &headers), body).await
        },
    )
}

/// The ids in a path. The sidecar decodes a path and resolves dots in it, so that one with a slash
/// or of dots alone could reach routes of the owner that are not for the outside.
struct Ids(Vec<Id>);

impl<S: Send + Sync> FromRequestParts<S> for Ids {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let raw = RawPathParams::from_request_parts(parts, state).await;
        let raw = raw.map_err(IntoResponse::into_response)?;
        let ids = raw.iter().map(|(name, raw)| {
            Id::parse(raw).map_err(|invalid| Problem::refused(&format!("/{name}"), invalid))
        });
        ids.collect::<Result<_, Problem>>().map(Self).map_err(IntoResponse::into_response)
    }
}

/// Product, price and stock on one page.
///
/// The answer says how far it may lie behind its owners. One that is not known to be fresh is read
/// from them; the part of an owner that does not answer comes from the last known copy, flagged.
#[utoipa::path(
    get,
    path = "/api/v1/views/products/{sku}",
    params(
        ("sku" = String, Path, description = "the product"),
        ("if-none-match" = Option<String>, Header, description = "tags of what the caller holds"),
    ),
    responses(
        (status = 200, description = "the view, with Age, Cache-Status, ETag",
         body = ViewBody<'_>),
        (status = 304, description = "what the caller holds is this view, and fresh"),
        (status = 404, description = "nothing is known of it",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "no such SKU can be",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "the owner of a part does not answer, and no copy is known",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn product_view(
    Ids(ids): Ids,
    State(views): State<Views>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let sku = ids.first().ok_or_else(Problem::internal)?;
    let view = views.get(sku).await?;
    Ok(view::answer(sku, &view, &headers))
}

async fn document(State(owners): State<Owners>) -> Response {
    Json(openapi::document(&owners).await).into_response()
}
