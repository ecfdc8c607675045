//! Pricing: what each product costs, now and at its next change.
//!
//! Owns: prices and promotions.
//! Publishes: `pricing.prices` and `pricing.promotions`.
//! Consumes: `catalog.products`.
//! Serves: `GET`, `PUT` and `DELETE /api/v1/prices/{sku}` and `/api/v1/promotions/{id}`,
//! `POST /api/v1/prices/import` and `/api/v1/promotions/import`, `GET /openapi.json`,
//! `GET /sync/status`.
//! Promise: amounts are exact; a price that a promotion changes is published at that moment, or
//! right after the start where nobody ran at that moment; a price and its change are stored
//! together or not at all.

mod bodies;
mod boundaries;
mod commands;
mod config;
mod desk;
mod domain;
mod http;
mod imports;
mod payload;
mod projections;
mod store;

use axum::Router;
use bus::Bus;
use contracts::{Contract, ContractError};
use service_kit::{BoxError, Program, Service, migrate};
use tokio_postgres::Client;

pub use config::Settings;
pub use desk::Desk;
pub use projections::{Product, Products};

const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__pricing", include_str!("../migrations/V1__pricing.sql")),
    ("V2__one_source", include_str!("../migrations/V2__one_source.sql")),
];

/// The program.
#[derive(Debug)]
pub struct Pricing;

impl Program for Pricing {
    const NAME: &'static str = "pricing";
    const ABOUT: &'static str = "Owns prices and promotions.";
    const LISTEN: &'static str = "127.0.0.1:8082";
    type Settings = Settings;

    async fn wire(service: Service, settings: Settings) -> Result<(), BoxError> {
        contracts()?;
        let pool = service.pool(&settings.database).await?;
        let bus = Bus::connect(&settings.bus, Self::NAME)?;
        service.tasks().spawn("bus", bus.run(service.stop()));
        let mut inbox = settings.inbox.named(Self::NAME);
        inbox.stop = service.stop();
        let monitor = inbox.monitor.clone();
        service.ready_when("copies", move || std::future::ready(monitor.readiness()));

        let desk = Desk::new(pool.clone());
        let routes = routes(&desk, &inbox.monitor, &bus);
        let tasks = service.tasks();
        tasks.spawn("prune", records::prune(pool.clone(), service.stop()));
        tasks.spawn("boundaries", desk.keep_boundaries(service.stop()));
        tasks.spawn("products", inbox::run(inbox, pool, bus, Products));
        Ok(service.serve(routes).await?)
    }

    async fn migrate(client: &mut Client) -> Result<(), BoxError> {
        migrate(client, "outbox", outbox::MIGRATIONS).await?;
        migrate(client, "inbox", inbox::MIGRATIONS).await?;
        migrate(client, "records", records::MIGRATIONS).await?;
        migrate(client, "pricing", MIGRATIONS).await?;
        for contract in contracts()? {
            outbox::register(client, &contract).await?;
        }
        Ok(())
    }

    fn openapi() -> Option<String> {
        Some(http::document())
    }
}

/// The records, the state of the copies, and the deliveries of the bus.
pub fn routes(desk: &Desk, monitor: &inbox::Monitor, bus: &Bus) -> Router {
    http::routes(desk.clone()).merge(monitor.routes(desk.pool.clone(), bus)).merge(bus.routes())
}

/// What pricing publishes, as its contract files say.
pub fn contracts() -> Result<Vec<Contract>, ContractError> {
    let files =
        [include_str!("../contracts/price.yaml"), include_str!("../contracts/promotion.yaml")];
    files.into_iter().map(Contract::parse).collect()
}
