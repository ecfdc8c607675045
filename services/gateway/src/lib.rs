//! Gateway: the one address for the outside; routes to the services behind it, composes views.
//!
//! Owns: nothing; keeps composed views in a cache, and what it has heard of their parts.
//! Publishes: nothing.
//! Consumes: `catalog.products`, `pricing.prices` and `warehouse.stock`.
//! Serves: `GET /api/v1/views/products/{sku}`; of catalog `/api/v1/products/{sku}`,
//! `/api/v1/categories/{id}`, `POST /api/v1/products/import` and
//! `POST /api/v1/categories/import`; of pricing `/api/v1/prices/{sku}`,
//! `/api/v1/promotions/{id}`, `POST /api/v1/prices/import` and `POST /api/v1/promotions/import`; of
//! warehouse `/api/v1/locations/{id}`, `/api/v1/stock/{sku}`, `/api/v1/stock/{sku}/{location}`,
//! `POST /api/v1/stock/{sku}/{location}/adjustments`, `POST /api/v1/reservations`,
//! `/api/v1/reservations/{id}`, `POST /api/v1/reservations/{id}/fulfilment`,
//! `POST /api/v1/locations/import` and `POST /api/v1/stock/import`; of search-indexer
//! `/api/v1/search`; `/openapi.json`, the documents of all as one, and `GET /sync/status`.
//! Promise: a view is fresh, or it says that it is not and why; an owner's answer comes back as it
//! is; whatever goes wrong on the way to the owner is a problem that names it, within a bounded
//! time; nothing is tried twice.

mod config;
mod hop;
mod http;
mod import;
mod namespace;
mod openapi;
mod owners;
mod projections;
mod store;
mod view;

use std::time::Duration;

use ::cache::Cache;
use axum::Router;
use bus::Bus;
use deadpool_postgres::Pool;
use service_kit::{BoxError, Program, Service, Tasks, migrate};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::projections::{Invalidation, Prices, Products, SINK, Stock};
use crate::view::{Shelf, Views};

pub use crate::config::Settings;
pub use crate::http::routes;
pub use crate::owners::{Error, Owners};
pub use crate::store::MIGRATIONS;

/// The program, as its command line sees it.
#[derive(Debug, Clone, Copy)]
pub struct Gateway;

impl Program for Gateway {
    const NAME: &'static str = "gateway";
    const ABOUT: &'static str = "The one address for the outside; routes to the services behind it";
    const LISTEN: &'static str = "127.0.0.1:8080";
    type Settings = Settings;

    async fn wire(service: Service, settings: Settings) -> Result<(), BoxError> {
        let pool = service.pool(&settings.database).await?;
        let bus = Bus::connect(&settings.bus, Self::NAME)?;
        let inbox = inbox(&service, &settings);
        let owners = Owners::connect(&bus, &settings)?;
        let cache = Cache::connect(&settings.cache).await?;

        let (sidecar, monitor) = (bus.clone(), inbox.monitor.clone());
        service.ready_when("sidecar", move || {
            let sidecar = sidecar.clone();
            async move { sidecar.ready().await }
        });
        service.ready_when("copies", move || std::future::ready(monitor.readiness()));

        let part_max = Duration::from_millis(settings.part_ms_max);
        let parts = Parts { inbox, pool, bus, owners, cache, part_max };
        service.tasks().spawn("bus", parts.bus.run(service.stop()));
        let routes = parts.start(service.tasks());
        Ok(service.serve(routes).await?)
    }

    async fn migrate(client: &mut Client) -> Result<(), BoxError> {
        migrate(client, "inbox", inbox::MIGRATIONS).await?;
        migrate(client, "gateway", MIGRATIONS).await?;
        Ok(())
    }

    fn openapi() -> Option<String> {
        Some(http::openapi().to_pretty_json().expect("a description has text keys only"))
    }
}

fn inbox(service: &Service, settings: &Settings) -> inbox::Config {
    let mut inbox = settings.inbox.clone().named(Gateway::NAME);
    inbox.stop = service.stop();
    inbox
}

/// What the gateway is put together of.
#[derive(Debug)]
pub struct Parts {
    /// How it follows its sources, and until when.
    pub inbox: inbox::Config,
    /// What it has heard of.
    pub pool: Pool,
    /// How it hears.
    pub bus: Bus,
    /// Who is behind it.
    pub owners: Owners,
    /// Where composed views lie.
    pub cache: Cache,
    /// How long an owner may take where a copy of its part is at hand.
    pub part_max: Duration,
}

impl Parts {
    /// From a delivery to the cache: three topics are heard, what they change is ended in the
    /// cache, and up to when that is done is known before a view is called fresh. The routes are
    /// all that is served.
    pub fn start(self, tasks: &Tasks) -> Router {
        let Self { inbox, pool, bus, owners, cache, part_max } = self;
        let shelf = Shelf::new(cache);
        inbox.monitor.track(SINK);
        let follow = || (inbox.clone(), pool.clone(), bus.clone());
        let (config, own, road) = follow();
        tasks.spawn("products", inbox::run(config, own, road, Products));
        let (config, own, road) = follow();
        tasks.spawn("prices", inbox::run(config, own, road, Prices));
        let (config, own, road) = follow();
        tasks.spawn("stock", inbox::run(config, own, road, Stock));
        let worker = Invalidation::new(pool.clone(), shelf.clone());
        tasks.spawn("cache", inbox::run_sink(inbox.clone(), pool.clone(), worker));
        let (known, standing) = watch::channel(None);
        let keeping =
            namespace::keep(pool.clone(), inbox.monitor.clone(), known, inbox.stop.clone());
        tasks.spawn("namespace", async move {
            keeping.await;
            Ok::<(), BoxError>(())
        });
        let views = Views::new(&owners, shelf, pool.clone(), standing, part_max);
        routes(owners)
            .merge(http::view_routes(views))
            .merge(inbox.monitor.routes(pool, &bus))
            .merge(bus.routes())
    }
}
