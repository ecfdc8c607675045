//! Routes, bodies, and the way from a request to a command and back.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use contracts::Id;
use deadpool_postgres::Pool;
use records::{Error, NotDeleted, NotPut, NotRead, Request, id, read, written};
use service_kit::{Precondition, Problem, ProblemBody};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

mod bodies;
mod imports;

use self::bodies::{CategoryBody, ProductBody};
use crate::{
    commands,
    payload::{CATEGORIES, PRODUCTS},
};

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
    info(title = "catalog", description = "Products and categories.", version = "1"),
    components(schemas(ProblemBody))
)]
struct Document;

fn described() -> OpenApiRouter<Pool> {
    let mut document = Document::openapi();
    // The macro writes one without a name where the package has none.
    document.info.license = None;
    OpenApiRouter::with_openapi(document)
        .routes(routes!(get_product, put_product, delete_product))
        .routes(routes!(get_category, put_category, delete_category))
        .merge(imports::described())
}

/// Reads a product
#[utoipa::path(
    get, path = "/api/v1/products/{sku}", tag = "products",
    params(
        ("sku" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "answer only this state"),
        ("If-None-Match" = Option<String>, Header, description = "tag of a copy that is held"),
    ),
    responses(
        (status = 200, description = "the product; its state is in `ETag`", body = ProductBody),
        (status = 304, description = "the copy that is held is current"),
        NotRead,
    )
)]
async fn get_product(
    State(pool): State<Pool>,
    Path(sku): Path<String>,
    condition: Precondition,
) -> Result<Response, Problem> {
    let sku = id(&sku, "sku")?;
    read(&pool, PRODUCTS, sku.as_str(), &condition).await
}

/// Creates or replaces a product
#[utoipa::path(
    put, path = "/api/v1/products/{sku}", tag = "products", request_body = ProductBody,
    params(
        ("sku" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "write only this state; `*`: any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 200, description = "replaced, or equal already", body = ProductBody),
        (status = 201, description = "created", body = ProductBody),
        NotPut,
    )
)]
async fn put_product(
    State(pool): State<Pool>,
    Path(sku): Path<String>,
    condition: Precondition,
    request: Request,
    body: service_kit::Json<ProductBody>,
) -> Result<Response, Problem> {
    let product = body.value.into_product(id(&sku, "sku")?)?;
    let demands = request.demands(condition, (PRODUCTS, product.sku.as_str()), Some(&body.digest));
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::put_product(&client, &product, &demands).await?, &request))
}

/// Deletes a product
#[utoipa::path(
    delete, path = "/api/v1/products/{sku}", tag = "products",
    params(
        ("sku" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "delete only this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 204, description = "deleted"),
        NotDeleted,
    )
)]
async fn delete_product(
    State(pool): State<Pool>,
    Path(sku): Path<String>,
    condition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    let sku = id(&sku, "sku")?;
    let demands = request.demands(condition, (PRODUCTS, sku.as_str()), None);
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::delete_product(&client, &sku, &demands).await?, &request))
}

/// Reads a category
#[utoipa::path(
    get, path = "/api/v1/categories/{id}", tag = "categories",
    params(
        ("id" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "answer only this state"),
        ("If-None-Match" = Option<String>, Header, description = "tag of a copy that is held"),
    ),
    responses(
        (status = 200, description = "the category; its state is in `ETag`", body = CategoryBody),
        (status = 304, description = "the copy that is held is current"),
        NotRead,
    )
)]
async fn get_category(
    State(pool): State<Pool>,
    Path(category): Path<String>,
    condition: Precondition,
) -> Result<Response, Problem> {
    let category = id(&category, "id")?;
    read(&pool, CATEGORIES, category.as_str(), &condition).await
}

/// Creates or replaces a category
#[utoipa::path(
    put, path = "/api/v1/categories/{id}", tag = "categories", request_body = CategoryBody,
    params(
        ("id" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "write only this state; `*`: any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 200, description = "replaced, or equal already", body = CategoryBody),
        (status = 201, description = "created", body = CategoryBody),
        NotPut,
    )
)]
async fn put_category(
    State(pool): State<Pool>,
    Path(category): Path<String>,
    condition: Precondition,
    request: Request,
    body: service_kit::Json<CategoryBody>,
) -> Result<Response, Problem> {
    let category = body.value.into_category(id(&category, "id")?)?;
    let demands =
        request.demands(condition, (CATEGORIES, category.id.as_str()), Some(&body.digest));
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::put_category(&client, &category, &demands).await?, &request))
}

/// Deletes a category
#[utoipa::path(
    delete, path = "/api/v1/categories/{id}", tag = "categories",
    params(
        ("id" = String, Path, description = Id::FORM),
        ("If-Match" = Option<String>, Header, description = "delete only this state"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes repeats harmless"),
    ),
    responses(
        (status = 204, description = "deleted; products that name it go on naming it"),
        NotDeleted,
    )
)]
async fn delete_category(
    State(pool): State<Pool>,
    Path(category): Path<String>,
    condition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    let category = id(&category, "id")?;
    let demands = request.demands(condition, (CATEGORIES, category.as_str()), None);
    let client = pool.get().await.map_err(Error::from)?;
    Ok(written(commands::delete_category(&client, &category, &demands).await?, &request))
}
