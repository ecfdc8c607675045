//! A source with a real relay, real sidecars over Redis, and a consumer with two copies of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use bus::{Bus, Transport};
use contracts::{Contract, Source};
use deadpool_postgres::{Client, Pool};
use inbox::{Change, Error, Projection, Transaction};
use outbox::{Relay, Tx};
use secrecy::SecretString;
use serde_json::{Value, json};
use testkit::{Database, RedisServer, Sidecar, Sidecars, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::world::pool;

pub(crate) const PRODUCTS: &str = "catalog.products";
pub(crate) const CATEGORIES: &str = "catalog.categories";
const TOPICS: [&str; 2] = [PRODUCTS, CATEGORIES];

/// A size of 0 and one of 13 are refused by the database itself.
const COPY: &str = "
    create schema copy;
    create table copy.items (
        topic text not null, key text not null, version bigint not null, name text not null,
        size int not null check (size <> 13), share int generated always as (100 / size) stored,
        tree jsonb, sent_us bigint not null,
        arrived timestamptz not null default clock_timestamp(), primary key (topic, key)
    );
    grant usage on schema copy to syncline_service;
    grant all on copy.items to syncline_service;";

const WRITE: &str = "
    insert into copy.items (topic, key, version, name, size, tree, sent_us)
    select $1, key, version, name, size, tree::jsonb, sent_us
    from unnest($2::text[], $3::bigint[], $4::text[], $5::int[], $6::text[], $7::bigint[])
        as new (key, version, name, size, tree, sent_us)
    on conflict (topic, key) do update set version = excluded.version, name = excluded.name,
        size = excluded.size, tree = excluded.tree, sent_us = excluded.sent_us,
        arrived = clock_timestamp()";

/// A record as the copies want it.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Item {
    name: String,
    size: i32,
    #[serde(default)]
    tree: Value,
    sent_us: i64,
}

/// One record in JSON, sent now.
pub(crate) fn item(name: &str, size: i32, tree: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let sent_us = u64::try_from(now.as_micros()).unwrap();
    json!({"name": name, "size": size, "tree": tree, "sent_us": sent_us})
}

/// The copy of one topic; size 14 panics in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copy<const N: usize> {
    /// What it does to the database instead of its work.
    pub(crate) fault: Arc<Mutex<Option<&'static str>>>,
    /// How often it did.
    pub(crate) failures: Arc<AtomicUsize>,
}

impl<const N: usize> Projection for Copy<N> {
    const TOPIC: &'static str = TOPICS[N];
    type Entity = Item;

    async fn apply(&self, tx: &Transaction<'_>, changes: &[Change<Item>]) -> Result<(), Error> {
        let fault = *self.fault.lock().unwrap();
        if let Some(fault) = fault {
            self.failures.fetch_add(1, Ordering::SeqCst);
            tx.batch_execute(fault).await?;
        }
        let kept = || changes.iter().filter_map(|c| Some((c, c.entity.as_ref()?)));
        assert!(kept().all(|(_, item)| item.size != 14), "fourteen");
        let keys: Vec<_> = kept().map(|(change, _)| change.key.as_str()).collect();
        let versions: Vec<_> = kept().map(|(change, _)| change.version.get()).collect();
        let names: Vec<_> = kept().map(|(_, item)| item.name.as_str()).collect();
        let sizes: Vec<_> = kept().map(|(_, item)| item.size).collect();
        let trees: Vec<_> = kept().map(|(_, item)| item.tree.to_string()).collect();
        let sent: Vec<_> = kept().map(|(_, item)| item.sent_us).collect();
        tx.execute(WRITE, &[&Self::TOPIC, &keys, &versions, &names, &sizes, &trees, &sent]).await?;
        Ok(())
    }
}

/// How often each status was answered to the sidecar.
type Answers = Arc<Mutex<BTreeMap<u16, usize>>>;

/// Everything; gone with it, the sidecars first.
pub(crate) struct Mesh {
    _sidecars: [Sidecar; 2],
    _host: Sidecars,
    tasks: JoinSet<()>,
    pub(crate) broker: RedisServer,
    pub(crate) pool: Pool,
    pub(crate) products: Copy<0>,
    answers: Answers,
    writers: Pool,
    source: Database,
    _copies: Database,
}

impl Mesh {
    /// A relay and a consumer of both topics, which serves.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let source = Database::create("faulty-source").await?;
        source.migrate("outbox", outbox::MIGRATIONS).await?;
        for topic in TOPICS {
            let contract = Contract::parse(&contract(topic))?;
            outbox::register(&source.connect().await?, &contract).await?;
        }
        let copies = Database::create("faulty-copies").await?;
        copies.migrate("inbox", inbox::MIGRATIONS).await?;
        copies.connect().await?.batch_execute(COPY).await?;

        let broker = RedisServer::streams().await?;
        let host = Sidecars::over(&broker.url())?;
        let mut tasks = JoinSet::new();
        let beside_relay = relay(&host, &source, &mut tasks).await?;
        let (pool, products) = (pool(&copies.url(), 12)?, Copy::default());
        let answers = Answers::default();
        let consumer = Consumer { pool: &pool, products: &products, answers: &answers };
        let beside_consumer = consumer.start(&host, &mut tasks).await?;
        Ok(Self {
            _sidecars: [beside_consumer, beside_relay],
            _host: host,
            tasks,
            broker,
            pool,
            products,
            answers,
            writers: source.pool(2)?,
            source,
            _copies: copies,
        })
    }

    /// Writes these records in one transaction, and so in one tick of the relay.
    pub(crate) async fn write(&self, topic: &str, items: &[(String, Value)]) -> anyhow::Result<()> {
        let client = self.writer().await?;
        let tx = Tx::begin(&client);
        for (key, item) in items {
            outbox::append(&tx, topic, key, item).await?;
        }
        Ok(tx.commit().await?)
    }

    /// A connection to the source, for many small writes.
    pub(crate) async fn writer(&self) -> anyhow::Result<Client> {
        Ok(self.writers.get().await?)
    }

    /// How often this status was answered to the sidecar.
    pub(crate) fn answered(&self, status: u16) -> usize {
        self.answers.lock().unwrap().get(&status).copied().unwrap_or(0)
    }

    pub(crate) async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        Ok(self.pool.get().await?.query_one(sql, &[]).await?.try_get(0)?)
    }

    /// How many records of this topic have come whose key begins so.
    pub(crate) async fn arrived(&self, topic: &str, prefix: &str) -> anyhow::Result<i64> {
        let sql = "select count(*) from copy.items where topic = $1 and starts_with(key, $2)";
        Ok(self.pool.get().await?.query_one(sql, &[&topic, &prefix]).await?.try_get(0)?)
    }

    /// Waits until keys and versions of copies and source are the same, and the books balance.
    pub(crate) async fn equals(&self) -> anyhow::Result<()> {
        let source = self.source.connect().await?;
        eventually("the copies equal their source", async || {
            let rows = async |client: &tokio_postgres::Client, sql| {
                let rows = client.query(sql, &[]).await?;
                let row = |row: tokio_postgres::Row| (row.get(0), row.get(1), row.get(2));
                anyhow::Ok(rows.into_iter().map(row).collect::<Vec<(String, String, i64)>>())
            };
            let sql = "select topic, key, version from outbox.current order by topic, key";
            let owned = rows(&source, sql).await?;
            let sql = "select topic, key, version from copy.items order by topic, key";
            Ok(owned == rows(&*self.pool.get().await?, sql).await?)
        })
        .await;
        assert_eq!(self.number("select count(*) from inbox.cases where state = 'open'").await?, 0);
        crate::world::balanced(&self.pool).await
    }

    /// A bus that speaks to the broker behind the sidecars' backs.
    pub(crate) fn forger(&self) -> anyhow::Result<Bus> {
        let config = bus::Config {
            transport: Transport::Redis,
            redis_url: Some(SecretString::from(self.broker.url())),
            ..beside(1, 1)
        };
        Ok(Bus::connect(&config, "forger")?)
    }

    /// Whether relay and consumer still run.
    pub(crate) fn is_whole(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }
}

/// The source's relay beside its sidecar; its calls are answered to holders of the app token.
async fn relay(
    host: &Sidecars,
    source: &Database,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Sidecar> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let sidecar = host.start("relay", listener.local_addr()?.port()).await?;
    let bus = Bus::connect(&beside(sidecar.http_port, sidecar.grpc_port), "relay")?;
    let (name, url) = (Source::parse("catalog")?, source.url().into());
    let relay = Relay::open(&outbox::Config::default(), name, &url, bus.clone())?;
    let routes = bus.guard(outbox::routes(std::slice::from_ref(&relay)));
    tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    tasks.spawn(async move { relay.run(CancellationToken::new()).await });
    Ok(sidecar)
}

/// What the consumer is made of.
struct Consumer<'a> {
    pool: &'a Pool,
    products: &'a Copy<0>,
    answers: &'a Answers,
}

impl Consumer<'_> {
    /// Starts it beside its sidecar, and waits until it serves.
    async fn start(self, host: &Sidecars, tasks: &mut JoinSet<()>) -> anyhow::Result<Sidecar> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let sidecar = host.start("search-indexer", listener.local_addr()?.port()).await?;
        let bus = Bus::connect(&beside(sidecar.http_port, sidecar.grpc_port), "search-indexer")?;
        let config = inbox::Config::default().named("search-indexer");
        let (monitor, pool) = (config.monitor.clone(), self.pool.clone());
        let counting = from_fn_with_state(Arc::clone(self.answers), count);
        let routes = bus.routes().layer(counting);
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let products = inbox::run(config.clone(), pool.clone(), bus.clone(), self.products.clone());
        tasks.spawn(async move { products.await.unwrap() });
        let categories = inbox::run(config, pool, bus, Copy::<1>::default());
        tasks.spawn(async move { categories.await.unwrap() });
        eventually("both copies serve", async || Ok(monitor.ready())).await;
        Ok(sidecar)
    }
}

async fn count(State(answers): State<Answers>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    *answers.lock().unwrap().entry(answer.status().as_u16()).or_default() += 1;
    answer
}

fn beside(http_port: u16, grpc_port: u16) -> bus::Config {
    bus::Config {
        transport: Transport::Dapr,
        redis_url: None,
        dapr_http_port: http_port,
        dapr_grpc_port: grpc_port,
        dapr_metrics_port: None,
        dapr_api_token: Some(SecretString::from(Sidecars::API_TOKEN)),
        app_api_token: SecretString::from(Sidecars::APP_TOKEN),
    }
}

fn contract(topic: &str) -> String {
    crate::relayed::CONTRACT.replace("shop.items", topic).replace("owner: shop", "owner: catalog")
}
