//! Catalog: what the products are and which categories they belong to.
//!
//! Owns: products and categories.
//! Publishes: `catalog.products` and `catalog.categories`.
//! Consumes: nothing.
//! Serves: `GET`, `PUT` and `DELETE /api/v1/products/{sku}` and `/api/v1/categories/{id}`,
//! `POST /api/v1/products/import` and `/api/v1/categories/import`, `GET /openapi.json`,
//! `GET /sync/status`.
//! Promise: a record and its change are stored together or not at all; a write that names a state
//! or a key is carried out only in that state, and only once.

mod commands;
mod config;
mod domain;
mod http;
mod payload;
mod store;

use axum::Router;
use contracts::{Contract, ContractError};
use deadpool_postgres::Pool;
use service_kit::{BoxError, Program, Service, migrate};
use tokio_postgres::Client;

pub use config::Settings;

const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__catalog", include_str!("../migrations/V1__catalog.sql")),
    ("V2__answers_moved", include_str!("../migrations/V2__answers_moved.sql")),
    ("V3__room", include_str!("../migrations/V3__room.sql")),
];

/// The program.
#[derive(Debug)]
pub struct Catalog;

impl Program for Catalog {
    const NAME: &'static str = "catalog";
    const ABOUT: &'static str = "Owns products and categories.";
    const LISTEN: &'static str = "127.0.0.1:8081";
    type Settings = Settings;

    async fn wire(service: Service, settings: Settings) -> Result<(), BoxError> {
        let topics: Vec<_> = contracts()?.into_iter().map(|contract| contract.topic).collect();
        let pool = service.pool(&settings.database).await?;
        service.tasks().spawn("prune", records::prune(pool.clone(), service.stop()));
        let status = service.status(&topics);
        service.serve(routes(pool).merge(status)).await?;
        Ok(())
    }

    async fn migrate(client: &mut Client) -> Result<(), BoxError> {
        migrate(client, "outbox", outbox::MIGRATIONS).await?;
        migrate(client, "records", records::MIGRATIONS).await?;
        migrate(client, "catalog", MIGRATIONS).await?;
        for contract in contracts()? {
            outbox::register(client, &contract).await?;
        }
        Ok(())
    }

    fn openapi() -> Option<String> {
        Some(http::document())
    }
}

/// The HTTP interface over this database.
pub fn routes(pool: Pool) -> Router {
    http::routes(pool)
}

/// What catalog publishes, as its contract files say.
pub fn contracts() -> Result<Vec<Contract>, ContractError> {
    let files =
        [include_str!("../contracts/product.yaml"), include_str!("../contracts/category.yaml")];
    files.into_iter().map(Contract::parse).collect()
}
