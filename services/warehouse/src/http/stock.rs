//! What is in stock.

use axum::{
    Json,
    extract::{Path, State},
    http::HeaderValue,
    response::{IntoResponse as _, Response},
};
use contracts::Id;
use deadpool_postgres::Pool;
use records::{NotDeleted, NotFound, NotPut, NotRead, Request, WAITS_FOR, id, shown, written};
use serde::Serialize;
use service_kit::{Precondition, Problem, ProblemBody};
use utoipa::ToSchema;

use super::{
    bodies::{AdjustmentBody, CountBody, StockBody},
    stock_key,
};
use crate::{
    commands,
    error::Error,
    payload::STOCK,
    store::{self, Listed},
};

/// The stock of a product at all its locations
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StockOfProduct)]
pub(super) struct StockOfProduct {
    /// The product
    sku: String,
    /// In the order of their ids
    locations: Vec<StockAtLocation>,
}

/// The stock of a product at one of its locations
#[derive(Debug, Serialize, ToSchema)]
struct StockAtLocation {
    /// The location
    location: String,
    /// Pieces on hand, what is reserved among them
    on_hand: i64,
    /// Pieces that are promised to somebody
    reserved: i64,
    /// On hand less reserved
    available: i64,
    /// The version of this stock record
    version: String,
}

impl From<Listed> for StockAtLocation {
    fn from(listed: Listed) -> Self {
        let Listed { location, level, version } = listed;
        Self {
            location: location.to_string(),
            on_hand: level.on_hand(),
            reserved: level.reserved(),
            available: level.available(),
            version: version.to_string(),
        }
    }
}

/// Reads the stock of a product at all its locations
#[utoipa::path(
    get, path = "/api/v1/stock/{sku}", tag = "stock",
    params(("sku" = String, Path, description = Id::FORM)),
    responses(
        (status = 200, description = "of one moment; `syncline-waits-for` names an unknown product",
         body = StockOfProduct),
        NotFound,
    )
)]
pub(super) async fn list_stock(
    State(pool): State<Pool>,
    Path(sku): Path<String>,
) -> Result<Response, Problem> {
    let sku = id(&sku, "sku")?;
    let client = pool.get().await.map_err(Error::from)?;
    let (listed, waits_for) = store::list_stock(&client, &sku).await?;
    if listed.is_empty() {
        return Err(Problem::not_found(format!("there is no stock of {sku}")));
    }
    let locations = listed.into_iter().map(StockAtLocation::from).collect();
    let mut response = Json(StockOfProduct { sku: sku.to_string(), locations }).into_response();
    if let Some(value) = waits_for.and_then(|value| HeaderValue::try_from(value).ok()) {
        response.headers_mut().insert(WAITS_FOR, value);
    }
    Ok(response)
}

/// Reads stock
#[utoipa::path(
    get, path = "/api/v1/stock/{sku}/{location}", tag = "stock",
    params(
        ("sku" = String, Path, description = Id::FORM),
        ("location" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "answer only this state"),
        ("If-None-Match" = Option<String>, Header, description = "tag of a copy that is held"),
    ),
    responses(
        (status = 200, description = "the stock; its state is in `ETag`, and `syncline-waits-for` \
         names a product that is not known yet", body = StockBody),
        (status = 304, description = "the copy that is held is current"),
        NotRead,
    )
)]
pub(super) async fn get_stock(
    State(pool): State<Pool>,
    Path(path): Path<(String, String)>,
    condition: Precondition,
) -> Result<Response, Problem> {
    let key = stock_key(&path)?;
    let client = pool.get().await.map_err(Error::from)?;
    let published = store::read_stock(&client, &key).await?;
    let unknown = || Problem::not_found(format!("there is no stock of {}", key.name()));
    shown(published.ok_or_else(unknown)?, &condition)
}

/// Sets what is on hand
#[utoipa::path(
    put, path = "/api/v1/stock/{sku}/{location}", tag = "stock", request_body = CountBody,
    params(
        ("sku" = String, Path, description = Id::FORM),
        ("location" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "write only this state; `*`: any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 200, description = "replaced, or equal already", body = StockBody),
        (status = 201, description = "created, with its location if that was unknown",
         body = StockBody),
        NotPut,
        (status = 409, description = "`below-reserved`: more is reserved; or `still-running`: a \
         request with the same key is", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn put_stock(
    State(pool): State<Pool>,
    Path(path): Path<(String, String)>,
    condition: Precondition,
    request: Request,
    body: service_kit::Json<CountBody>,
) -> Result<Response, Problem> {
    let key = stock_key(&path)?;
    let on_hand = body.value.into_quantity(&key)?;
    let demands = request.demands(condition, (STOCK, &key.name()), Some(&body.digest));
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::put_stock(&client, &key, on_hand, &demands).await?, &request))
}

/// Changes what is on hand by a difference
#[utoipa::path(
    post, path = "/api/v1/stock/{sku}/{location}/adjustments", tag = "stock",
    request_body = AdjustmentBody,
    params(
        ("sku" = String, Path, description = Id::FORM),
        ("location" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "change only stock in this state"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 200, description = "the stock after it", body = StockBody),
        NotPut,
        (status = 409, description = "`insufficient-stock`: less is available; `too-much-stock`: \
         more than can be counted; or `still-running`: a request with the same key is",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn adjust_stock(
    State(pool): State<Pool>,
    Path(path): Path<(String, String)>,
    condition: Precondition,
    request: Request,
    body: service_kit::Json<AdjustmentBody>,
) -> Result<Response, Problem> {
    let key = stock_key(&path)?;
    let (delta, reason) = body.value.into_parts()?;
    let demands = request.demands(condition, (STOCK, &key.name()), Some(&body.digest));
    let client = pool.get().await.map_err(Error::from)?;
    let change = (delta, reason.as_ref());
    Ok(written(commands::adjust_stock(&client, &key, change, &demands).await?, &request))
}

/// Deletes stock of which nothing is reserved
#[utoipa::path(
    delete, path = "/api/v1/stock/{sku}/{location}", tag = "stock",
    params(
        ("sku" = String, Path, description = Id::FORM),
        ("location" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "delete only this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 204, description = "deleted; its location stays"),
        NotDeleted,
        (status = 409, description = "`reserved`: some of it is; or `still-running`: a request \
         with the same key is", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete_stock(
    State(pool): State<Pool>,
    Path(path): Path<(String, String)>,
    condition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    let key = stock_key(&path)?;
    let demands = request.demands(condition, (STOCK, &key.name()), None);
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::delete_stock(&client, &key, &demands).await?, &request))
}
