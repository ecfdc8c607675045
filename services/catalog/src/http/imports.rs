//! Imports: many products or categories in one request.

use axum::{extract::State, response::Response};
use deadpool_postgres::Pool;
use outbox::Tx;
use records::{
    Cell, Collection, Column, Error, ImportBody, NotImported, Outcome, Upload, import, uploads,
};
use service_kit::Problem;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::bodies::{CategoryBody, ProductBody};
use crate::{
    commands,
    domain::{Category, Product},
    payload::{CATEGORIES, PRODUCTS},
};

/// The routes, which take files of any size.
pub(super) fn described() -> OpenApiRouter<Pool> {
    uploads(
        OpenApiRouter::new().routes(routes!(import_products)).routes(routes!(import_categories)),
    )
}

/// Imports products
///
/// One per line, each with its `sku`, as NDJSON or as CSV with columns `sku`, `name`, `categories`
/// (separated by `|`) and `attributes.<name>` (plain decimals of at most 15 digits are numbers,
/// `true` and `false` are themselves, all else is text), in UTF-8, in lines of at most 1 MiB. Each
/// line is stored or refused for itself.
#[utoipa::path(
    post, path = "/api/v1/products/import", tag = "products",
    request_body(content(
        (String = "application/x-ndjson"), (String = "text/csv"),
    )),
    params(("Idempotency-Key" = Option<String>, Header, description = "makes it resumable")),
    responses(
        (status = 200, description = "the file was read to its end", body = ImportBody),
        NotImported,
    )
)]
async fn import_products(State(pool): State<Pool>, upload: Upload) -> Result<Response, Problem> {
    import(&pool, &Products, upload).await
}

/// Imports categories
///
/// One per line, each with its `id`, as NDJSON or as CSV with columns `id`, `name` and `parent`, in
/// UTF-8, in lines of at most 1 MiB. Each line is stored or refused for itself.
#[utoipa::path(
    post, path = "/api/v1/categories/import", tag = "categories",
    request_body(content(
        (String = "application/x-ndjson"), (String = "text/csv"),
    )),
    params(("Idempotency-Key" = Option<String>, Header, description = "makes it resumable")),
    responses(
        (status = 200, description = "the file was read to its end", body = ImportBody),
        NotImported,
    )
)]
async fn import_categories(State(pool): State<Pool>, upload: Upload) -> Result<Response, Problem> {
    import(&pool, &Categories, upload).await
}

struct Products;

impl Collection for Products {
    const TOPIC: &'static str = PRODUCTS;
    const COLUMNS: &'static [Column] = &[
        Column::required("sku", Cell::Text),
        Column::required("name", Cell::Text),
        Column::required("categories", Cell::List),
        Column::optional("attributes", Cell::Members),
    ];
    type Body = ProductBody;
    type Record = Product;

    fn record(body: ProductBody) -> Result<Product, Problem> {
        body.into_named()
    }

    fn key(record: &Product) -> String {
        record.sku.as_str().to_owned()
    }

    async fn store(&self, tx: &Tx<'_>, records: &[Product]) -> Result<Vec<Outcome>, Error> {
        commands::import_products(tx, records).await
    }
}

struct Categories;

impl Collection for Categories {
    const TOPIC: &'static str = CATEGORIES;
    const COLUMNS: &'static [Column] = &[
        Column::required("id", Cell::Text),
        Column::required("name", Cell::Text),
        Column::optional("parent", Cell::Text),
    ];
    type Body = CategoryBody;
    type Record = Category;

    fn record(body: CategoryBody) -> Result<Category, Problem> {
        body.into_named()
    }

    fn key(record: &Category) -> String {
        record.id.as_str().to_owned()
    }

    async fn store(&self, tx: &Tx<'_>, records: &[Category]) -> Result<Vec<Outcome>, Error> {
        commands::import_categories(tx, records).await
    }
}
