//! A source of one's own: a migrated database, its relays, and their answers.

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use deadpool_postgres::{Manager, Pool};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use bus::Bus;
use contracts::{Contract, Lane, Source, Stream, Topic};
use outbox::{Config, MIGRATIONS, Relay};
use testkit::Database;

pub(crate) const ITEMS: &str = "shop.items";
pub(crate) const PRICES: &str = "shop.prices";

/// The statement with which a relay seals, for rivals that are no relay.
pub(crate) const SEAL: &str = include_str!("../../queries/seal.sql");

/// A source named `shop` with two topics, `items` in lane normal and `prices` in lane critical.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) pool: Pool,
}

/// A relay that ticks and publishes in the background, until dropped.
pub(crate) struct Running {
    pub(crate) relay: Relay,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl World {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let database = Database::create("outbox").await?;
        database.migrate("outbox", MIGRATIONS).await?;
        let client = database.connect().await?;
        for (topic, lane) in [(ITEMS, "normal"), (PRICES, "critical")] {
            outbox::register(&client, &contract(topic, lane)?).await?;
        }
        let pool = database.pool(4)?;
        Ok(Self { database, pool })
    }

    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        self.database.connect().await
    }

    /// Waits until a statement of a relay's session of this name waits for a lock.
    pub(crate) async fn blocked(&self, application: &str) {
        let client = self.client().await.unwrap();
        testkit::eventually(&format!("{application} waits for a lock"), || async {
            let sql = "select exists (select from pg_stat_activity
                        where datname = current_database() and application_name = $1
                          and wait_event_type = 'Lock') as blocked";
            Ok(client.query_one(sql, &[&application]).await?.get("blocked"))
        })
        .await;
    }

    pub(crate) fn relay(&self, bus: Bus) -> anyhow::Result<Relay> {
        self.relay_with(&Config { standby_ms: 20, ..Config::default() }, bus)
    }

    pub(crate) fn relay_with(&self, config: &Config, bus: Bus) -> anyhow::Result<Relay> {
        relay_at(&self.database.url().into(), config, bus)
    }

    /// A relay without a broker, running.
    pub(crate) async fn running(&self) -> anyhow::Result<Running> {
        let running = Running::start(self.relay(Bus::none())?);
        running.leading().await;
        Ok(running)
    }
}

impl Running {
    pub(crate) fn start(relay: Relay) -> Self {
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let (runs, until) = (relay.clone(), stop.clone());
        task.spawn(async move { runs.run(until).await });
        Self { relay, stop, task }
    }

    /// A relay that turns only when the test says so.
    pub(crate) fn by_hand(relay: Relay) -> Self {
        Self { relay, stop: CancellationToken::new(), task: JoinSet::new() }
    }

    pub(crate) async fn leading(&self) {
        testkit::eventually("the relay leads", || async {
            Ok(self.relay.status().await["state"] == "leading")
        })
        .await;
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.task.join_next().await.is_some() {}
    }

    pub(crate) async fn get(&self, uri: &str) -> anyhow::Result<(StatusCode, Value)> {
        let trail = outbox::trail_routes(std::slice::from_ref(&self.relay));
        call(self.relay.routes().merge(trail), Method::GET, uri, None).await
    }

    /// The answer byte for byte.
    pub(crate) async fn get_bytes(&self, uri: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        call_for_bytes(self.relay.routes(), Method::GET, uri, None).await
    }

    pub(crate) async fn post(&self, uri: &str, body: Value) -> anyhow::Result<(StatusCode, Value)> {
        call(self.relay.routes(), Method::POST, uri, Some(body)).await
    }

    /// The call of a consumer that follows the items; `positions` is JSON, null on its first call.
    pub(crate) async fn sync(
        &self,
        consumer: &str,
        positions: Value,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let identity = "11111111-1111-4111-8111-111111111111";
        let body = serde_json::json!({
            "consumer": consumer, "identity": identity, "topics": [ITEMS], "positions": positions,
        });
        self.post("/sources/shop/sync", body).await
    }
}

/// The relay of the database at this URL.
pub(crate) fn relay_at(url: &SecretString, config: &Config, bus: Bus) -> anyhow::Result<Relay> {
    Ok(Relay::open(config, Source::parse("shop")?, url, bus)?)
}

/// One connection of a service at this URL.
pub(crate) fn pool(url: &SecretString) -> anyhow::Result<Pool> {
    let config = url.expose_secret().parse::<tokio_postgres::Config>()?;
    Ok(Pool::builder(Manager::new(config, NoTls)).max_size(1).build()?)
}

async fn call(
    routes: Router,
    method: Method,
    uri: &str,
    body: Option<Value>,
) -> anyhow::Result<(StatusCode, Value)> {
    let (status, bytes) = call_for_bytes(routes, method, uri, body).await?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((status, serde_json::from_slice(&bytes).context(text)?))
}

async fn call_for_bytes(
    routes: Router,
    method: Method,
    uri: &str,
    body: Option<Value>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)?;
    let response = routes.oneshot(request).await?;
    let status = response.status();
    Ok((status, to_bytes(response.into_body(), usize::MAX).await?))
}

pub(crate) fn items() -> Topic {
    Topic::parse(ITEMS).unwrap()
}

pub(crate) fn items_stream() -> Stream {
    Stream::new(&items(), Lane::Normal)
}

/// Appends an upsert of an item in a transaction of its own.
pub(crate) async fn put(client: &Client, key: &str, payload: &str) -> anyhow::Result<i64> {
    let sql = "select outbox.append($1, $2, 'upsert', $3) as version";
    let row = client.query_one(sql, &[&ITEMS, &key, &payload.as_bytes()]).await?;
    Ok(row.try_get("version")?)
}

/// Appends the delete of an item in a transaction of its own.
pub(crate) async fn remove(client: &Client, key: &str) -> anyhow::Result<i64> {
    let sql = "select outbox.append($1, $2, 'delete', null) as version";
    Ok(client.query_one(sql, &[&ITEMS, &key]).await?.try_get("version")?)
}

/// The envelopes of a feed answer, taken apart: number, term and event of each change.
pub(crate) fn numbered(answer: &Value) -> anyhow::Result<Vec<Numbered>> {
    let mut all = Vec::new();
    for envelope in answer["envelopes"].as_array().context("envelopes")? {
        all.extend(Numbered::of(envelope.to_string().as_bytes())?);
    }
    Ok(all)
}

/// One change with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) pn: i64,
    pub(crate) term: contracts::Term,
    pub(crate) key: String,
    pub(crate) version: i64,
    pub(crate) event: uuid::Uuid,
    pub(crate) payload: Option<String>,
}

impl Numbered {
    pub(crate) fn of(envelope: &[u8]) -> anyhow::Result<Vec<Self>> {
        let envelope = contracts::Envelope::parse(envelope)?;
        let first = envelope.header.first.get();
        let term = envelope.header.term;
        (first..)
            .zip(envelope.changes)
            .map(|(pn, change)| {
                let change = change.map_err(|e| anyhow::anyhow!("{e:?}"))?;
                let (key, version) = (change.key.as_str().to_owned(), change.version.get());
                let payload = change.payload.map(|payload| payload.get().to_owned());
                Ok(Self { pn, term, key, version, event: change.event, payload })
            })
            .collect()
    }
}

fn contract(topic: &str, lane: &str) -> anyhow::Result<Contract> {
    let yaml = format!(
        "entity: item\nowner: shop\ntopic: {topic}\nlane: {lane}\n\
         schema:\n  version: \"1\"\n  document:\n    type: object\n    \
         additionalProperties: false\n    required: []\n    properties:\n      \
         n: {{ type: integer }}\n\
         fields:\n  n: {{ classification: public }}\n\
         conflict: source-of-truth\nfreshness_ms: 1000\nretention_hours: 24\n"
    );
    Ok(Contract::parse(&yaml)?)
}
