//! The consumer that is measured: a copy of products in nine columns, and a cache that it keeps
//! clean, over the inbox as every service uses it. It notes when each position was reached.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use bus::Bus;
use cache::{Cache, Invalidation, Key};
use contracts::{Lane, Stream, Topic};
use deadpool_postgres::Pool;
use inbox::{Change, Dirty, Monitor, Projection, Record, Sink, Transaction};
use serde::Deserialize;
use service_kit::{BoxError, Program, Service, migrate};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::clock::Moment;

/// The app-id whose place it takes: one that hears products and categories in every lane.
pub const SEAT: &str = "search-indexer";

const MIGRATIONS: &[(&str, &str)] = &[("V1__bench", include_str!("../migrations/V1__bench.sql"))];
const UPSERT_PRODUCTS: &str = include_str!("../queries/upsert_products.sql");
const DELETE_PRODUCTS: &str = include_str!("../queries/delete_products.sql");
const UPSERT_CATEGORIES: &str = include_str!("../queries/upsert_categories.sql");
const DELETE_CATEGORIES: &str = include_str!("../queries/delete_categories.sql");
const NAMESPACE: &str = "bench";

/// The program.
#[derive(Debug)]
pub struct Consumer;

/// Everything that can be set.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// What every service must know.
    #[command(flatten)]
    pub service: service_kit::Config,
    /// Where the copy lies.
    #[command(flatten)]
    pub database: service_kit::Database,
    /// How other services are reached.
    #[command(flatten)]
    pub bus: bus::Config,
    /// How the copy follows its source.
    #[command(flatten)]
    pub inbox: inbox::Config,
    /// The cache that is kept clean.
    #[command(flatten)]
    pub cache: cache::Config,
}

impl AsRef<service_kit::Config> for Settings {
    fn as_ref(&self) -> &service_kit::Config {
        &self.service
    }
}

impl Program for Consumer {
    const NAME: &'static str = "bench-consumer";
    const ABOUT: &'static str = "Keeps a copy of products, and notes when it was up to date.";
    const LISTEN: &'static str = "127.0.0.1:8099";
    type Settings = Settings;

    async fn wire(service: Service, settings: Settings) -> Result<(), BoxError> {
        let pool = service.pool(&settings.database).await?;
        let seat = settings.inbox.consumer.clone().unwrap_or_else(|| SEAT.to_owned());
        let bus = Bus::connect(&settings.bus, &seat)?;
        service.tasks().spawn("bus", bus.run(service.stop()));
        let mut inbox = settings.inbox.named(SEAT);
        inbox.stop = service.stop();
        let monitor = inbox.monitor.clone();
        let watched = monitor.clone();
        service.ready_when("copies", move || std::future::ready(watched.readiness()));
        let cache = Cache::connect(&settings.cache).await?;
        let notes = Arc::<Notes>::default();

        let tasks = service.tasks();
        tasks.spawn("watch", watch(monitor.clone(), Arc::clone(&notes), service.stop()));
        let sink = Clean { pool: pool.clone(), cache, notes: Arc::clone(&notes) };
        tasks.spawn("cache", inbox::run_sink(inbox.clone(), pool.clone(), sink));
        let routes = monitor.routes(pool.clone(), &bus).merge(bus.routes()).merge(routes(notes));
        let (categories, on) = (inbox.clone(), (pool.clone(), bus.clone()));
        tasks.spawn("categories", inbox::run(categories, on.0, on.1, Categories));
        tasks.spawn("products", inbox::run(inbox, pool, bus, Products));
        Ok(service.serve(routes).await?)
    }

    async fn migrate(client: &mut Client) -> Result<(), BoxError> {
        migrate(client, "inbox", inbox::MIGRATIONS).await?;
        migrate(client, "bench", MIGRATIONS).await?;
        Ok(())
    }
}

/// What was noted since it was last asked for.
#[derive(Debug, Default)]
struct Notes {
    /// `moved <stream> <pn> <moment>` and `cleaned <sku> <moment>`, a line each.
    text: Mutex<String>,
}

impl Notes {
    fn note(&self, line: std::fmt::Arguments<'_>) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to text cannot fail.
        let _ = text.write_fmt(line);
        text.push('\n');
    }
}

fn routes(notes: Arc<Notes>) -> Router {
    Router::new().route("/bench/notes", get(take)).with_state(notes)
}

async fn take(State(notes): State<Arc<Notes>>) -> String {
    std::mem::take(&mut *notes.text.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Notes each move of a position right after its commit.
async fn watch(
    monitor: Monitor,
    notes: Arc<Notes>,
    stop: CancellationToken,
) -> Result<(), inbox::Error> {
    let mut streams: Vec<_> = [Products::TOPIC, Categories::TOPIC]
        .iter()
        .filter_map(|topic| Topic::parse(topic).ok())
        .flat_map(|topic| Lane::ALL.map(|lane| (Stream::new(&topic, lane), None)))
        .collect();
    let mut moves = monitor.moves();
    loop {
        tokio::select! {
            Ok(()) = moves.changed() => {}
            () = stop.cancelled() => return Ok(()),
        }
        let now = Moment::now();
        for (stream, noted) in &mut streams {
            let position = monitor.position(stream);
            if let Some(pn) = position.filter(|_| position != *noted) {
                notes.note(format_args!("moved {stream} {pn} {}", now.0));
                *noted = position;
            }
        }
    }
}

/// A product as the copy wants it.
#[derive(Debug, Deserialize)]
struct Product {
    name: String,
    categories: Vec<String>,
    attributes: Attributes,
}

#[derive(Debug, Deserialize)]
struct Attributes {
    seq: i64,
    text: String,
    #[serde(default)]
    refuse: bool,
}

struct Products;

impl Projection for Products {
    const TOPIC: &'static str = "catalog.products";
    type Entity = Product;

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        changes: &[Change<Product>],
    ) -> Result<(), inbox::Error> {
        delete_gone(tx, DELETE_PRODUCTS, changes).await?;
        let there: Vec<_> = changes.iter().filter_map(|c| Some((c, c.entity.as_ref()?))).collect();
        if there.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = there.iter().map(|(change, _)| change.key.as_str()).collect();
        let names: Vec<_> = there.iter().map(|(_, product)| product.name.as_str()).collect();
        let categories: Vec<_> =
            there.iter().map(|(_, product)| product.categories.join("|")).collect();
        let seqs: Vec<_> = there.iter().map(|(_, product)| product.attributes.seq).collect();
        let texts: Vec<_> =
            there.iter().map(|(_, product)| product.attributes.text.as_str()).collect();
        let versions: Vec<_> = there.iter().map(|(change, _)| change.version.get()).collect();
        let upsert = tx.prepare_cached(UPSERT_PRODUCTS).await?;
        tx.execute(&upsert, &[&keys, &names, &categories, &seqs, &texts, &versions]).await?;
        Ok(())
    }

    async fn dirty(
        &self,
        _: &Transaction<'_>,
        changes: &[Change<Product>],
    ) -> Result<Vec<Dirty>, inbox::Error> {
        Ok(changes.iter().map(|c| c.marks(Clean::NAME, c.key.as_str())).collect())
    }

    fn validate(&self, product: &Product) -> Result<(), String> {
        if product.attributes.refuse { Err("it asks to be refused".to_owned()) } else { Ok(()) }
    }
}

#[derive(Debug, Deserialize)]
struct Category {
    name: String,
}

struct Categories;

impl Projection for Categories {
    const TOPIC: &'static str = "catalog.categories";
    type Entity = Category;

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        changes: &[Change<Category>],
    ) -> Result<(), inbox::Error> {
        delete_gone(tx, DELETE_CATEGORIES, changes).await?;
        let there: Vec<_> = changes.iter().filter_map(|c| Some((c, c.entity.as_ref()?))).collect();
        let keys: Vec<_> = there.iter().map(|(change, _)| change.key.as_str()).collect();
        let names: Vec<_> = there.iter().map(|(_, category)| category.name.as_str()).collect();
        let versions: Vec<_> = there.iter().map(|(change, _)| change.version.get()).collect();
        let upsert = tx.prepare_cached(UPSERT_CATEGORIES).await?;
        tx.execute(&upsert, &[&keys, &names, &versions]).await?;
        Ok(())
    }
}

/// Deletes what is no longer.
async fn delete_gone<E>(
    tx: &Transaction<'_>,
    statement: &str,
    changes: &[Change<E>],
) -> Result<(), inbox::Error> {
    let gone = changes.iter().filter(|change| change.entity.is_none());
    let gone: Vec<_> = gone.map(|change| change.key.as_str()).collect();
    if !gone.is_empty() {
        let delete = tx.prepare_cached(statement).await?;
        tx.execute(&delete, &[&gone]).await?;
    }
    Ok(())
}

/// Ends the cached values of products that changed, as the gateway does.
struct Clean {
    pool: Pool,
    cache: Cache,
    notes: Arc<Notes>,
}

impl Sink for Clean {
    const NAME: &'static str = "cache";

    async fn clean(&self, keys: &[String]) -> Result<Vec<String>, inbox::Error> {
        let record = |key: &String| Record { topic: Products::TOPIC.to_owned(), key: key.clone() };
        let records: Vec<_> = keys.iter().map(record).collect();
        let held = inbox::held(&self.pool, &records).await?;
        let ended = held.into_iter().map(|held| {
            let version = held.version.filter(|_| !held.has_open_case);
            Invalidation {
                key: Key::new(NAMESPACE, "product", &held.record.key),
                part: "product".to_owned(),
                version: version.and_then(|v| cache::Version::parse(&v.to_string()).ok()),
            }
        });
        let ended: Vec<_> = ended.collect();
        self.cache.invalidate(&ended).await.map_err(inbox::Error::consumer)?;
        let now = Moment::now();
        for key in keys {
            self.notes.note(format_args!("cleaned {key} {}", now.0));
        }
        Ok(Vec::new())
    }
}
