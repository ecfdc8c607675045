//! Warehouse: what is in stock where, and what of it is reserved.
//!
//! Owns: locations, stock, and reservations of stock.
//! Publishes: `warehouse.stock` and `warehouse.locations`.
//! Consumes: `catalog.products`.
//! Serves: `GET`, `PUT` and `DELETE /api/v1/locations/{id}` and
//! `/api/v1/stock/{sku}/{location}`, `GET /api/v1/stock/{sku}`,
//! `POST /api/v1/stock/{sku}/{location}/adjustments`, `POST /api/v1/reservations`,
//! `GET` and `DELETE /api/v1/reservations/{id}`, `POST /api/v1/reservations/{id}/fulfilment`,
//! `POST /api/v1/stock/import` and `/api/v1/locations/import`, `GET /openapi.json`,
//! `GET /sync/status`.
//! Promise: no more is promised than there is, however many ask at once; a reservation ends once,
//! by its holder or by its time; a record and its change are stored together or not at all.

mod commands;
mod config;
mod domain;
mod error;
mod expiry;
mod http;
mod payload;
mod products;
mod reservation_id;
mod store;

use axum::Router;
use bus::Bus;
use contracts::{Contract, ContractError};
use deadpool_postgres::Pool;
use service_kit::{BoxError, Program, Service, migrate};
use tokio_postgres::Client;

pub use config::Settings;
pub use expiry::{Expiry, Turn, prune};
pub use products::{Product, Products};

const MIGRATIONS: &[(&str, &str)] =
    &[("V1__warehouse", include_str!("../migrations/V1__warehouse.sql"))];

/// The program.
#[derive(Debug)]
pub struct Warehouse;

impl Program for Warehouse {
    const NAME: &'static str = "warehouse";
    const ABOUT: &'static str = "Owns locations, stock and reservations.";
    const LISTEN: &'static str = "127.0.0.1:8083";
    type Settings = Settings;

    async fn wire(service: Service, settings: Settings) -> Result<(), BoxError> {
        contracts()?;
        let pool = service.pool(&settings.database).await?;
        let bus = Bus::connect(&settings.bus, Self::NAME)?;
        let mut inbox = settings.inbox.named(Self::NAME);
        inbox.stop = service.stop();
        let monitor = inbox.monitor.clone();
        service.ready_when("copies", move || std::future::ready(monitor.readiness()));

        let routes = routes(&inbox.monitor, pool.clone(), &bus);
        let (tasks, stop) = (service.tasks(), || service.stop());
        tasks.spawn("bus", bus.run(stop()));
        tasks.spawn("products", inbox::run(inbox, pool.clone(), bus, Products));
        tasks.spawn("expiry", Expiry::new(pool.clone()).run(stop()));
        tasks.spawn("prune", records::prune(pool.clone(), stop()));
        tasks.spawn("forget", prune(pool, stop()));
        Ok(service.serve(routes).await?)
    }

    async fn migrate(client: &mut Client) -> Result<(), BoxError> {
        migrate(client, "outbox", outbox::MIGRATIONS).await?;
        migrate(client, "inbox", inbox::MIGRATIONS).await?;
        migrate(client, "records", records::MIGRATIONS).await?;
        migrate(client, "warehouse", MIGRATIONS).await?;
        for contract in contracts()? {
            outbox::register(client, &contract).await?;
        }
        Ok(())
    }

    fn openapi() -> Option<String> {
        Some(http::document())
    }
}

/// The HTTP interface over this database, the state of the copy, and the deliveries of the bus.
pub fn routes(monitor: &inbox::Monitor, pool: Pool, bus: &Bus) -> Router {
    http::routes(pool.clone()).merge(monitor.routes(pool, bus)).merge(bus.routes())
}

/// What warehouse publishes, as its contract files say.
pub fn contracts() -> Result<Vec<Contract>, ContractError> {
    let files =
        [include_str!("../contracts/stock.yaml"), include_str!("../contracts/location.yaml")];
    files.into_iter().map(Contract::parse).collect()
}
