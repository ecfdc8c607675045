//! Search: the document of each product, its index, and the search API.
//!
//! Owns: nothing; keeps the search document of each product, composed of copies.
//! Publishes: nothing.
//! Consumes: `catalog.products`, `catalog.categories`, `pricing.prices` and `warehouse.stock`.
//! Serves: `GET /api/v1/search`, `GET /openapi.json`, `GET /sync/status`.
//! Promise: a change is found within 200 ms of its commit here, and a search is answered from an
//! index that agrees with the database or not at all. Of several processes one at a time keeps its
//! index and answers; the others wait, unready, for its end.

mod config;
mod cursor;
mod domain;
mod due;
mod http;
mod index;
mod indexer;
mod projections;
mod store;
mod window;

use std::sync::Arc;

use axum::Router;
use bus::Bus;
use deadpool_postgres::Pool;
use service_kit::{BoxError, Program, Service, migrate};
use tokio_postgres::Client;

pub use crate::config::Settings;
pub use crate::domain::{
    Amount, Availability, Category, Currency, Document, InvalidAmount, Price, Scalar,
};
pub use crate::index::{
    Batch, CategoryCount, CommitId, Error as IndexError, Hit, HitAvailability, HitCategory,
    HitPrice, Index, Page, Place, PriceRange, Question, Sort, Tantivy, ValueCount,
};
pub use crate::indexer::{Error, IndexStatus, Indexer, Worker};
pub use crate::projections::{
    Categories, Prices, Product, Products, ShownCategory, ShownPrice, ShownStock, Stock,
};
pub use crate::store::{Error as StoreError, MIGRATIONS};

/// The program.
#[derive(Debug)]
pub struct SearchIndexer;

impl Program for SearchIndexer {
    const NAME: &'static str = "search-indexer";
    const ABOUT: &'static str = "Keeps the search document of each product, and finds them";
    const LISTEN: &'static str = "127.0.0.1:8084";
    type Settings = Settings;

    async fn wire(service: Service, settings: Settings) -> Result<(), BoxError> {
        let pool = service.pool(&settings.database).await?;
        let bus = Bus::connect(&settings.bus, Self::NAME)?;
        service.tasks().spawn("bus", bus.run(service.stop()));
        let mut inbox = settings.inbox.named(Self::NAME);
        inbox.stop = service.stop();
        let documents = Arc::new(Indexer::new(pool.clone(), Tantivy::new(settings.index_dir)));

        let (monitor, index) = (inbox.monitor.clone(), Arc::clone(&documents));
        service.ready_when("copies", move || std::future::ready(monitor.readiness()));
        service.ready_when("index", move || std::future::ready(index.is_serving()));

        let routes = routes(&inbox.monitor, pool.clone(), &bus, &documents);
        follow(&service, &inbox, (&pool, &bus), &documents);
        Ok(service.serve(routes).await?)
    }

    async fn migrate(client: &mut Client) -> Result<(), BoxError> {
        migrate(client, "inbox", inbox::MIGRATIONS).await?;
        migrate(client, "search", MIGRATIONS).await?;
        Ok(())
    }

    fn openapi() -> Option<String> {
        Some(http::openapi().to_pretty_json().expect("a description has text keys only"))
    }
}

/// From a delivery to the index: four copies, the worker that composes, and the index it writes.
fn follow(
    service: &Service,
    inbox: &inbox::Config,
    (pool, bus): (&Pool, &Bus),
    documents: &Arc<Indexer<Tantivy>>,
) {
    let tasks = service.tasks();
    let follow = || (inbox.clone(), pool.clone(), bus.clone());
    let (config, own, road) = follow();
    tasks.spawn("products", inbox::run(config, own, road, Products));
    let (config, own, road) = follow();
    tasks.spawn("categories", inbox::run(config, own, road, Categories));
    let (config, own, road) = follow();
    tasks.spawn("prices", inbox::run(config, own, road, Prices));
    let (config, own, road) = follow();
    tasks.spawn("stock", inbox::run(config, own, road, Stock));
    let worker = Worker(Arc::clone(documents));
    tasks.spawn("documents", inbox::run_sink(inbox.clone(), pool.clone(), worker));
    let (index, stop) = (Arc::clone(documents), service.stop());
    tasks.spawn("index", async move {
        index.keep(stop).await;
        Ok::<(), BoxError>(())
    });
}

/// The search, its description, the state of the copies, and the deliveries of the bus.
pub fn routes(
    monitor: &inbox::Monitor,
    pool: Pool,
    bus: &Bus,
    documents: &Arc<Indexer<Tantivy>>,
) -> Router {
    http::routes(Arc::clone(documents))
        .merge(http::with_index(monitor.routes(pool, bus), Arc::clone(documents)))
        .merge(bus.routes())
}
