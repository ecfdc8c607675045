//! Routes, bodies, and the way from a request to a command and back.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use contracts::Id;
use records::{
    Error, ImportBody, NotDeleted, NotImported, NotPut, NotRead, Request, Upload, id, import, read,
    shown, uploads, written,
};
use service_kit::{Precondition, Problem, ProblemBody};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    bodies::{PriceBody, PricePart, PromotionBody},
    commands,
    desk::Desk,
    imports::{Prices, Promotions},
    payload::{PRICES, PROMOTIONS},
    store,
};

/// All routes over this database, with the document that describes them.
pub(crate) fn routes(desk: Desk) -> Router {
    let (router, document) = described().split_for_parts();
    router.with_state(desk).route("/openapi.json", get(|| async { Json(document) }))
}

/// The OpenAPI document.
pub(crate) fn document() -> String {
    let (_, document) = described().split_for_parts();
    document.to_pretty_json().expect("the document has string keys only")
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "pricing", description = "Prices and promotions.", version = "1"),
    components(schemas(ProblemBody))
)]
struct Document;

fn described() -> OpenApiRouter<Desk> {
    let mut document = Document::openapi();
    // The macro writes one without a name where the package has none.
    document.info.license = None;
    OpenApiRouter::with_openapi(document)
        .routes(routes!(get_price, put_price, delete_price))
        .routes(routes!(get_promotion, put_promotion, delete_promotion))
        .merge(uploads(
            OpenApiRouter::new().routes(routes!(import_prices)).routes(routes!(import_promotions)),
        ))
}

/// Reads a price, with what holds now and until when
#[utoipa::path(
    get, path = "/api/v1/prices/{sku}", tag = "prices",
    params(
        ("sku" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "answer only this state"),
        ("If-None-Match" = Option<String>, Header, description = "tag of a copy that is held"),
    ),
    responses(
        (
            status = 200, description = "the price; its state is in `ETag`", body = PricePart,
            headers(("syncline-waits-for", description = "its product, until it is known here")),
        ),
        (status = 304, description = "the copy that is held is current"),
        NotRead,
    )
)]
async fn get_price(
    State(desk): State<Desk>,
    Path(sku): Path<String>,
    condition: Precondition,
) -> Result<Response, Problem> {
    let sku = id(&sku, "sku")?;
    let client = desk.pool.get().await.map_err(Error::from)?;
    let published = store::read_price(&client, &sku).await?;
    let unknown = || Problem::not_found(format!("there is no {sku} in {PRICES}"));
    shown(published.ok_or_else(unknown)?, &condition)
}

/// Creates or replaces a price
#[utoipa::path(
    put, path = "/api/v1/prices/{sku}", tag = "prices", request_body = PriceBody,
    params(
        ("sku" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "write only this state; `*`: any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (
            status = 200, description = "replaced, or equal already", body = PricePart,
            headers(("syncline-waits-for", description = "its product, until it is known here")),
        ),
        (
            status = 201, description = "created", body = PricePart,
            headers(("syncline-waits-for", description = "its product, until it is known here")),
        ),
        NotPut,
    )
)]
async fn put_price(
    State(desk): State<Desk>,
    Path(sku): Path<String>,
    condition: Precondition,
    request: Request,
    body: service_kit::Json<PriceBody>,
) -> Result<Response, Problem> {
    let sku = id(&sku, "sku")?;
    let price = body.value.price(&sku)?;
    let demands = request.demands(condition, (PRICES, sku.as_str()), Some(&body.digest));
    let client = desk.pool.get().await.map_err(Error::from)?;
    let put = commands::put_price(&client, &desk.boundaries, (&sku, price), &demands);
    Ok(written(put.await?, &request))
}

/// Deletes a price
#[utoipa::path(
    delete, path = "/api/v1/prices/{sku}", tag = "prices",
    params(
        ("sku" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "delete only this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 204, description = "deleted; promotions go on naming its product"),
        NotDeleted,
    )
)]
async fn delete_price(
    State(desk): State<Desk>,
    Path(sku): Path<String>,
    condition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    let sku = id(&sku, "sku")?;
    let demands = request.demands(condition, (PRICES, sku.as_str()), None);
    let client = desk.pool.get().await.map_err(Error::from)?;
    Ok(written(commands::delete_price(&client, &sku, &demands).await?, &request))
}

/// Reads a promotion
#[utoipa::path(
    get, path = "/api/v1/promotions/{id}", tag = "promotions",
    params(
        ("id" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "answer only this state"),
        ("If-None-Match" = Option<String>, Header, description = "tag of a copy that is held"),
    ),
    responses(
        (status = 200, description = "the promotion; its state is in `ETag`", body = PromotionBody),
        (status = 304, description = "the copy that is held is current"),
        NotRead,
    )
)]
async fn get_promotion(
    State(desk): State<Desk>,
    Path(promotion): Path<String>,
    condition: Precondition,
) -> Result<Response, Problem> {
    let promotion = id(&promotion, "id")?;
    read(&desk.pool, PROMOTIONS, promotion.as_str(), &condition).await
}

/// Creates or replaces a promotion, and changes the prices that it names or named
#[utoipa::path(
    put, path = "/api/v1/promotions/{id}", tag = "promotions", request_body = PromotionBody,
    params(
        ("id" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "write only this state; `*`: any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 200, description = "replaced, or equal already", body = PromotionBody),
        (status = 201, description = "created", body = PromotionBody),
        NotPut,
    )
)]
async fn put_promotion(
    State(desk): State<Desk>,
    Path(promotion): Path<String>,
    condition: Precondition,
    request: Request,
    body: service_kit::Json<PromotionBody>,
) -> Result<Response, Problem> {
    let promotion = body.value.into_promotion(id(&promotion, "id")?)?;
    let record = (PROMOTIONS, promotion.id.as_str());
    let demands = request.demands(condition, record, Some(&body.digest));
    let client = desk.pool.get().await.map_err(Error::from)?;
    let put = commands::put_promotion(&client, &desk.boundaries, &promotion, &demands);
    Ok(written(put.await?, &request))
}

/// Deletes a promotion, and its effect on prices
#[utoipa::path(
    delete, path = "/api/v1/promotions/{id}", tag = "promotions",
    params(
        ("id" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "delete only this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 204, description = "deleted"),
        NotDeleted,
    )
)]
async fn delete_promotion(
    State(desk): State<Desk>,
    Path(promotion): Path<String>,
    condition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    let promotion = id(&promotion, "id")?;
    let demands = request.demands(condition, (PROMOTIONS, promotion.as_str()), None);
    let client = desk.pool.get().await.map_err(Error::from)?;
    let delete = commands::delete_promotion(&client, &desk.boundaries, &promotion, &demands);
    Ok(written(delete.await?, &request))
}

/// Imports prices, one in each line
#[utoipa::path(
    post, path = "/api/v1/prices/import", tag = "prices",
    request_body(
        description = "`sku`, `currency` and `amount` in each line",
        content((String = "application/x-ndjson"), (String = "text/csv")),
    ),
    params(("Idempotency-Key" = Option<String>, Header, description = "makes it resumable")),
    responses(
        (status = 200, description = "what became of the lines", body = ImportBody),
        NotImported,
    )
)]
async fn import_prices(State(desk): State<Desk>, upload: Upload) -> Result<Response, Problem> {
    import(&desk.pool, &Prices, upload).await
}

/// Imports promotions, one in each line
#[utoipa::path(
    post, path = "/api/v1/promotions/import", tag = "promotions",
    request_body(
        description = "`id`, `skus`, `percent_off` and `periods` in each line; in CSV skus are \
            joined by `|`, and so are periods, each as `start/end`",
        content((String = "application/x-ndjson"), (String = "text/csv")),
    ),
    params(("Idempotency-Key" = Option<String>, Header, description = "makes it resumable")),
    responses(
        (status = 200, description = "what became of the lines", body = ImportBody),
        NotImported,
    )
)]
async fn import_promotions(State(desk): State<Desk>, upload: Upload) -> Result<Response, Problem> {
    import(&desk.pool, &Promotions, upload).await
}
