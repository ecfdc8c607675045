//! Three real sources with their relays, owners that answer from them, a cache, and the gateway.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bus::{Bus, Memory};
use cache::Cache;
use contracts::{Contract, Source};
use deadpool_postgres::Pool;
use gateway::{Owners, Parts};
use inbox::{Monitor, Road};
use outbox::{Relay, Tx};
use serde_json::{Value, json};
use service_kit::Tasks;
use testkit::{Database, RedisServer, eventually};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{Answer, BODY_BYTES_MAX, NOWHERE, settings};

/// Each source with its topic.
const SOURCES: [(&str, &str); 3] = [
    ("catalog", "catalog.products"),
    ("pricing", "pricing.prices"),
    ("warehouse", "warehouse.stock"),
];

fn contract(owner: &str, topic: &str) -> String {
    format!(
        "entity: thing\nowner: {owner}\ntopic: {topic}\nlane: normal\n\
         schema:\n  version: \"1\"\n  document:\n    type: object\n    \
         additionalProperties: false\n    required: []\n    \
         properties: {{ sku: {{ type: string }} }}\n\
         fields: {{ sku: {{ classification: public }} }}\nconflict: source-of-truth\n\
         freshness_ms: 1000\nretention_hours: 24\n"
    )
}

/// How somebody answers now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    /// As a road answers that leads nowhere.
    Away,
    Hangs,
}

/// A switch in front of routes, which counts what comes.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
}

impl Door {
    fn new() -> Self {
        Self { mood: Arc::new(Mutex::new(Mood::Answers)), asked: Arc::default() }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn through(State(door): State<Door>, request: Request, next: Next) -> Response {
    door.asked.fetch_add(1, Ordering::SeqCst);
    let mood = *door.mood.lock().unwrap();
    match mood {
        Mood::Answers => next.run(request).await,
        Mood::Away => (StatusCode::SERVICE_UNAVAILABLE, "no road").into_response(),
        Mood::Hangs => std::future::pending().await,
    }
}

/// One source: its database, its relay and the owner's answers.
pub(crate) struct Shop {
    database: Database,
    pool: Pool,
    source: Source,
    topic: &'static str,
    /// In front of the owner's answers.
    pub(crate) owner: Door,
    /// In front of the relay.
    pub(crate) relay: Door,
    url: String,
    relay_url: String,
    leader: Arc<Mutex<Router>>,
    lead: CancellationToken,
}

impl Shop {
    async fn open(
        (source, topic): (&'static str, &'static str),
        hub: &Memory,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let database = Database::create(source).await?;
        database.migrate("outbox", outbox::MIGRATIONS).await?;
        let contract = Contract::parse(&contract(source, topic))?;
        outbox::register(&database.connect().await?, &contract).await?;
        let (pool, source) = (database.pool(4)?, Source::parse(source)?);
        let (owner, relay, lead) = (Door::new(), Door::new(), CancellationToken::new());
        let answers = Router::new()
            .route("/api/v1/{collection}/{sku}", get(record))
            .with_state((topic, pool.clone()));
        let url = serve(tasks, answers, &owner).await?;
        let leader = Arc::new(Mutex::new(Router::new()));
        let relay_url = serve(tasks, whoever_leads(&leader), &relay).await?;
        let mut shop =
            Self { database, pool, source, topic, owner, relay, url, relay_url, leader, lead };
        shop.lead(hub, tasks)?;
        Ok(shop)
    }

    /// A relay takes the source over from the one before.
    fn lead(&mut self, hub: &Memory, tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
        self.lead.cancel();
        self.lead = CancellationToken::new();
        let (config, url) = (outbox::Config::default(), self.database.url().into());
        let relay = Relay::open(&config, self.source.clone(), &url, Bus::memory(hub))?;
        *self.leader.lock().unwrap() = relay.routes();
        let stop = self.lead.clone();
        tasks.spawn(async move { relay.run(stop).await });
        Ok(())
    }

    pub(crate) async fn delete(&self, key: &str) -> anyhow::Result<()> {
        let client = self.pool.get().await?;
        let tx = Tx::begin(&client);
        outbox::delete(&tx, self.topic, key).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the relay, so that nothing is heard of any change.
    pub(crate) fn silence(&self) {
        self.lead.cancel();
        self.relay.set(Mood::Hangs);
    }

    /// Writes a record as its owner publishes it.
    pub(crate) async fn put(&self, key: &str, value: &Value) -> anyhow::Result<()> {
        let client = self.pool.get().await?;
        let tx = Tx::begin(&client);
        outbox::append(&tx, self.topic, key, value).await?;
        Ok(tx.commit().await?)
    }
}

/// The routes of whichever relay leads now.
fn whoever_leads(leader: &Arc<Mutex<Router>>) -> Router {
    let leader = Arc::clone(leader);
    Router::new().fallback(async move |request: Request| {
        let routes = leader.lock().unwrap().clone();
        routes.oneshot(request).await.unwrap()
    })
}

async fn serve(tasks: &mut JoinSet<()>, routes: Router, door: &Door) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let routes = routes.layer(from_fn_with_state(door.clone(), through));
    tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Ok(url)
}

/// What an owner answers: what it published, as it lies in its outbox.
async fn record(
    State((topic, pool)): State<(&'static str, Pool)>,
    Path((_, sku)): Path<(String, String)>,
) -> Response {
    let client = pool.get().await.unwrap();
    let sql = "select key, version, payload from outbox.current \
               where topic = $1 and split_part(key, '/', 1) = $2 and not deleted order by key";
    let rows = client.query(sql, &[&topic, &sku]).await.unwrap();
    let own = [("x-syncline-service", "owner")];
    let bodies: Vec<(i64, Vec<u8>)> =
        rows.iter().map(|row| (row.get("version"), row.get("payload"))).collect();
    let Some((version, body)) = bodies.first() else {
        return (StatusCode::NOT_FOUND, own, "nothing").into_response();
    };
    if topic == "warehouse.stock" {
        let line = |(version, body): &(i64, Vec<u8>)| {
            let mut line: BTreeMap<String, Value> = serde_json::from_slice(body).unwrap();
            line.insert("version".to_owned(), version.to_string().into());
            line
        };
        let locations: Vec<_> = bodies.iter().map(line).collect();
        let body = json!({"sku": sku, "locations": locations});
        return (own, axum::Json(body)).into_response();
    }
    let tag = format!("\"{version}-{}\"", contracts::Digest::of(body).prefix());
    (own, [("etag", tag), ("content-type", "application/json".to_owned())], body.clone())
        .into_response()
}

/// Everything, with one gateway in front.
pub(crate) struct Mall {
    pub(crate) catalog: Shop,
    pub(crate) pricing: Shop,
    pub(crate) warehouse: Shop,
    pub(crate) redis: RedisServer,
    pub(crate) database: Database,
    pub(crate) pool: Pool,
    pub(crate) gateway: Gateway,
    hub: Memory,
    tasks: JoinSet<()>,
}

/// One process of the gateway.
pub(crate) struct Gateway {
    pub(crate) monitor: Monitor,
    routes: Router,
    stop: CancellationToken,
}

impl Gateway {
    async fn start(
        hub: &Memory,
        (shops, relays): ([&Shop; 3], [&str; 3]),
        redis: &RedisServer,
        pool: &Pool,
    ) -> anyhow::Result<Self> {
        let [catalog, pricing, warehouse] = shops;
        let urls = [
            "--catalog-url",
            &catalog.url,
            "--pricing-url",
            &pricing.url,
            "--warehouse-url",
            &warehouse.url,
            "--cache-url",
            &redis.url(),
            "--answer-ms-max",
            "3000",
        ];
        let nobody = &NOWHERE[6..];
        let settings = settings(&[&urls[..], nobody].concat());
        let roads = shops.into_iter().zip(relays);
        let relay_urls = roads.map(|(shop, url)| Road::new(&shop.source, url)).collect();
        let (bus, stop) = (Bus::memory(hub), CancellationToken::new());
        let inbox = inbox::Config {
            relay_urls,
            stop: stop.clone(),
            ..settings.inbox.clone().named("gateway")
        };
        let monitor = inbox.monitor.clone();
        let parts = Parts {
            inbox,
            pool: pool.clone(),
            owners: Owners::connect(&bus, &settings)?,
            bus,
            cache: Cache::connect(&settings.cache).await?,
            part_max: Duration::from_millis(settings.part_ms_max),
        };
        let gateway = Self { monitor, routes: parts.start(&Tasks::default()), stop };
        eventually("the copies are ready", async || Ok(gateway.monitor.ready())).await;
        Ok(gateway)
    }

    pub(crate) async fn ask(&self, request: Request) -> Answer {
        let answer = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn view(&self, sku: &str) -> Answer {
        let request = Request::get(format!("/api/v1/views/products/{sku}"));
        self.ask(request.body(Body::empty()).unwrap()).await
    }

    /// Ends it in order.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the view is answered from the cache, and fresh.
    pub(crate) async fn fresh_hit(&self, sku: &str) -> Answer {
        let last = Mutex::new(None);
        eventually("the view is a fresh hit", async || {
            let view = self.view(sku).await;
            let is_hit = status(&view) == "syncline; hit" && !is_stale(&view);
            *last.lock().unwrap() = Some(view);
            Ok(is_hit)
        })
        .await;
        last.into_inner().unwrap().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Mall {
    /// Sources without records, and a gateway whose copies have reached their heads.
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let (hub, mut tasks) = (Memory::new(), JoinSet::new());
        let [catalog, pricing, warehouse] = SOURCES;
        let catalog = Shop::open(catalog, &hub, &mut tasks).await?;
        let pricing = Shop::open(pricing, &hub, &mut tasks).await?;
        let warehouse = Shop::open(warehouse, &hub, &mut tasks).await?;
        let database = Database::create("gateway").await?;
        database.migrate("inbox", inbox::MIGRATIONS).await?;
        database.migrate("gateway", gateway::MIGRATIONS).await?;
        let (redis, pool) = (RedisServer::cache().await?, database.pool(24)?);
        let shops = [&catalog, &pricing, &warehouse];
        let roads = (shops, shops.map(|shop| &*shop.relay_url));
        let gateway = Gateway::start(&hub, roads, &redis, &pool).await?;
        let mall = Self { catalog, pricing, warehouse, redis, database, pool, gateway, hub, tasks };
        mall.put("A", "5.00", 3).await?;
        mall.settled("A", 1).await;
        mall.fresh_hit("A").await;
        Ok(mall)
    }

    /// A product with its price and its stock in one store.
    pub(crate) async fn put(&self, sku: &str, amount: &str, available: i64) -> anyhow::Result<()> {
        self.catalog.put(sku, &json!({"sku": sku, "name": sku})).await?;
        self.price(sku, amount).await?;
        let stock = json!({"sku": sku, "location": "s1", "on_hand": available, "reserved": 0,
            "available": available});
        self.warehouse.put(&format!("{sku}/s1"), &stock).await
    }

    pub(crate) async fn price(&self, sku: &str, amount: &str) -> anyhow::Result<()> {
        let price = json!({"sku": sku, "currency": "USD", "amount": amount, "effective": amount,
            "promotion": null, "until": null});
        self.pricing.put(sku, &price).await
    }

    pub(crate) async fn ask(&self, request: Request) -> Answer {
        self.gateway.ask(request).await
    }

    pub(crate) async fn view(&self, sku: &str) -> Answer {
        self.gateway.view(sku).await
    }

    pub(crate) async fn fresh_hit(&self, sku: &str) -> Answer {
        self.gateway.fresh_hit(sku).await
    }

    /// One more process over the same database and the same cache.
    pub(crate) async fn another(&self) -> anyhow::Result<Gateway> {
        let shops = self.shops();
        let roads = (shops, shops.map(|shop| &*shop.relay_url));
        Gateway::start(&self.hub, roads, &self.redis, &self.pool).await
    }

    /// The same, with a door of its own in front of the relays.
    pub(crate) async fn another_apart(&mut self) -> anyhow::Result<(Gateway, Door)> {
        let (door, mut urls) = (Door::new(), Vec::new());
        for leader in self.shops().map(|shop| Arc::clone(&shop.leader)) {
            urls.push(serve(&mut self.tasks, whoever_leads(&leader), &door).await?);
        }
        let relays = std::array::from_fn(|place| urls[place].as_str());
        let roads = (self.shops(), relays);
        Ok((Gateway::start(&self.hub, roads, &self.redis, &self.pool).await?, door))
    }

    fn shops(&self) -> [&Shop; 3] {
        [&self.catalog, &self.pricing, &self.warehouse]
    }

    /// Waits until this version of the price is heard of and noticed, with all that came before,
    /// and the namespace is that of the past in which it was.
    pub(crate) async fn settled(&self, sku: &str, version: i64) {
        let sql = "select past, (select count(*) from inbox.dirty) as dirty,
                (select count(*) from inbox.versions where split_part(key, '/', 1) = $1) as parts,
                (select version from inbox.versions where topic = 'pricing.prices' and key = $1)
            from gateway.namespace";
        eventually("everything is heard of and noticed", async || {
            let row = self.pool.get().await?.query_one(sql, &[&sku]).await?;
            let heard: Option<i64> = row.get("version");
            let (dirty, parts): (i64, i64) = (row.get("dirty"), row.get("parts"));
            let past = inbox::past(&self.pool, &SOURCES.map(|(_, topic)| topic)).await?;
            Ok(heard == Some(version)
                && (dirty, parts) == (0, 3)
                && row.get::<_, String>("past") == past)
        })
        .await;
    }

    /// Another relay takes pricing over: its next number has another term.
    pub(crate) fn hand_over(&mut self) -> anyhow::Result<()> {
        self.pricing.lead(&self.hub, &mut self.tasks)
    }

    pub(crate) async fn namespace(&self) -> anyhow::Result<String> {
        let sql = "select id::text from gateway.namespace";
        Ok(self.pool.get().await?.query_one(sql, &[]).await?.try_get(0)?)
    }
}

impl Drop for Mall {
    fn drop(&mut self) {
        for shop in self.shops() {
            shop.lead.cancel();
        }
    }
}

pub(crate) fn status(view: &Answer) -> &str {
    view.headers["cache-status"].to_str().unwrap()
}

pub(crate) fn is_stale(view: &Answer) -> bool {
    view.status == StatusCode::OK && view.json()["freshness"]["stale"] == true
}
