//! Imports: many locations, or the stock at many places, in one request.

use axum::{extract::State, response::Response};
use deadpool_postgres::{ClientWrapper, Pool};
use outbox::Tx;
use records::{
    Cell, Collection, Column, Error, ImportBody, NotImported, Outcome, Upload, import, uploads,
};
use service_kit::Problem;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::bodies::{CountBody, LocationBody};
use crate::{
    commands,
    domain::{Location, Quantity, StockKey},
    payload::{LOCATIONS, STOCK},
};

/// The routes, which take files of any size.
pub(super) fn described() -> OpenApiRouter<Pool> {
    uploads(OpenApiRouter::new().routes(routes!(import_stock)).routes(routes!(import_locations)))
}

/// Imports stock
///
/// One count per line, each with its `sku`, `location` and `on_hand`, as NDJSON or as CSV with
/// these columns, in UTF-8, in lines of at most 1 MiB. Each line is stored or refused for itself; a
/// location that is unknown is created.
#[utoipa::path(
    post, path = "/api/v1/stock/import", tag = "stock",
    request_body(content(
        (String = "application/x-ndjson"), (String = "text/csv"),
    )),
    params(("Idempotency-Key" = Option<String>, Header, description = "makes it resumable")),
    responses(
        (status = 200, description = "the file was read to its end", body = ImportBody),
        NotImported,
    )
)]
async fn import_stock(State(pool): State<Pool>, upload: Upload) -> Result<Response, Problem> {
    import(&pool, &Stock, upload).await
}

/// Imports locations
///
/// One per line, each with its `id`, as NDJSON or as CSV with columns `id`, `name`, `city`,
/// `region` and `postcode`, in UTF-8, in lines of at most 1 MiB. Each line is stored or refused for
/// itself.
#[utoipa::path(
    post, path = "/api/v1/locations/import", tag = "locations",
    request_body(content(
        (String = "application/x-ndjson"), (String = "text/csv"),
    )),
    params(("Idempotency-Key" = Option<String>, Header, description = "makes it resumable")),
    responses(
        (status = 200, description = "the file was read to its end", body = ImportBody),
        NotImported,
    )
)]
async fn import_locations(State(pool): State<Pool>, upload: Upload) -> Result<Response, Problem> {
    import(&pool, &Locations, upload).await
}

struct Stock;

impl Collection for Stock {
    const TOPIC: &'static str = STOCK;
    const COLUMNS: &'static [Column] = &[
        Column::required("sku", Cell::Text),
        Column::required("location", Cell::Text),
        Column::required("on_hand", Cell::Number),
    ];
    type Body = CountBody;
    type Record = (StockKey, Quantity);

    fn record(body: CountBody) -> Result<Self::Record, Problem> {
        body.into_named()
    }

    fn key((key, _): &Self::Record) -> String {
        key.name()
    }

    /// Itself, and its location, which it may be the first to name.
    async fn weight(&self, _: &ClientWrapper, _: &Self::Record) -> Result<usize, Error> {
        Ok(2)
    }

    async fn store(&self, tx: &Tx<'_>, counts: &[Self::Record]) -> Result<Vec<Outcome>, Error> {
        Ok(commands::import_stock(tx, counts).await?)
    }
}

struct Locations;

impl Collection for Locations {
    const TOPIC: &'static str = LOCATIONS;
    const COLUMNS: &'static [Column] = &[
        Column::required("id", Cell::Text),
        Column::optional("name", Cell::Text),
        Column::optional("city", Cell::Text),
        Column::optional("region", Cell::Text),
        Column::optional("postcode", Cell::Text),
    ];
    type Body = LocationBody;
    type Record = Location;

    fn record(body: LocationBody) -> Result<Location, Problem> {
        body.into_named()
    }

    fn key(location: &Location) -> String {
        location.id.as_str().to_owned()
    }

    async fn store(&self, tx: &Tx<'_>, locations: &[Location]) -> Result<Vec<Outcome>, Error> {
        Ok(commands::import_locations(tx, locations).await?)
    }
}
