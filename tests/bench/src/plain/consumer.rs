//! The consumer: takes one message per request into its copy, then deletes its cache entry.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use bytes::Bytes;
use deadpool_postgres::Pool;
use http::{HeaderMap, StatusCode};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use super::tally::{Counts, Taken, Tally};
use super::{Change, cache_key};
use crate::clock::Moment;
use crate::source::pool;

/// More than the workers of its sidecar.
const CONNECTIONS: usize = 16;
/// The client's own limit is too short for a machine that stalls.
const CACHE_TIMEOUT: Duration = Duration::from_secs(5);
/// How a sidecar shows that it is one.
const TOKEN_HEADER: &str = "dapr-api-token";

const APPLY: &str = include_str!("../../queries/plain_apply.sql");

/// What the consumer must know.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct ConsumerSettings {
    /// Port of 127.0.0.1 to serve on.
    #[arg(long, env = "PLAIN_PORT", value_name = "PORT")]
    pub port: u16,

    /// The copy's database.
    #[arg(long, env = "PLAIN_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: SecretString,

    /// The cache beside the copy.
    #[arg(long, env = "PLAIN_CACHE_URL", hide_env_values = true, value_name = "URL")]
    pub cache_url: SecretString,

    /// What its sidecar shows to it.
    #[arg(long, env = "APP_API_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub app_token: SecretString,
}

#[derive(Debug, Clone)]
struct Consumer {
    pool: Pool,
    cache: ConnectionManager,
    app_token: SecretString,
    tally: Arc<Tally>,
}

/// The part of a `CloudEvent` that the consumer reads.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    data: Change<'a>,
}

/// A product as the copy wants it.
#[derive(Debug, Deserialize)]
struct Product<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    categories: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    attributes: Attributes<'a>,
}

#[derive(Debug, Deserialize)]
struct Attributes<'a> {
    seq: i64,
    #[serde(borrow)]
    text: Cow<'a, str>,
    /// The rule that every consumer of the benchmark has: a product that asks for it is refused.
    #[serde(default)]
    refuse: bool,
}

/// Serves deliveries until the process ends; `GET /bench/counts` answers once it is ready.
///
/// `GET /bench/applied` answers a line `seq applied_us clean_us` for each change that was applied
/// since it was asked last. Numbers of changes are its memory: none may come for two of them.
pub async fn consumer(settings: ConsumerSettings) -> anyhow::Result<()> {
    let pool = pool(settings.database_url.expose_secret(), CONNECTIONS)?;
    let first = pool.get().await.context("connecting to the copy")?;
    first.prepare_cached(APPLY).await.context("looking at the copy")?;
    drop(first);
    let client = redis::Client::open(settings.cache_url.expose_secret())?;
    let limits = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CACHE_TIMEOUT))
        .set_response_timeout(Some(CACHE_TIMEOUT));
    let cache = ConnectionManager::new_with_config(client, limits).await?;
    let tally = Arc::new(Tally::default());
    let consumer = Consumer { pool, cache, app_token: settings.app_token, tally };
    let routes = Router::new()
        .route("/events/products", post(deliver))
        .route("/bench/applied", get(applied))
        .route("/bench/counts", get(counts))
        .with_state(consumer);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, settings.port)).await?;
    let listener = listener.tap_io(|stream| {
        // A socket that waits to send is slower, not wrong.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, routes).await.context("serving the plain consumer")
}

async fn applied(State(consumer): State<Consumer>) -> String {
    consumer.tally.take_lines()
}

async fn counts(State(consumer): State<Consumer>) -> Json<Counts> {
    Json(consumer.tally.counts())
}

async fn deliver(State(consumer): State<Consumer>, headers: HeaderMap, body: Bytes) -> Response {
    let shown = headers.get(TOKEN_HEADER).map(http::HeaderValue::as_bytes);
    if shown != Some(consumer.app_token.expose_secret().as_bytes()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Ok((change, product)) = read(&body) else {
        consumer.tally.count(|counts| counts.unreadable += 1);
        return dropped();
    };
    if product.as_ref().is_some_and(|product| product.attributes.refuse) {
        consumer.tally.count(|counts| counts.refused += 1);
        return dropped();
    }
    match consumer.take(&change, product.as_ref()).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => {
            let error = format!("{error:#}");
            tracing::warn!(error, "a change was not taken; its sidecar sends it again");
            consumer.tally.count(|counts| counts.failed += 1);
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn read(body: &[u8]) -> serde_json::Result<(Change<'_>, Option<Product<'_>>)> {
    let Event { data: change } = serde_json::from_slice(body)?;
    let product = change.product.map(|product| serde_json::from_str(product.get()));
    Ok((change, product.transpose()?))
}

/// Tells the sidecar not to send it again.
fn dropped() -> Response {
    Json(json!({ "status": "DROP" })).into_response()
}

impl Consumer {
    async fn take(&self, change: &Change<'_>, product: Option<&Product<'_>>) -> anyhow::Result<()> {
        let taken = self.apply(change, product).await?;
        let applied = Moment::now();
        // Of an overtaken or repeated one too: the delivery before may have died right here.
        let mut cache = self.cache.clone();
        let entry = cache_key(&change.sku);
        let _: u64 = redis::cmd("DEL").arg(entry).query_async(&mut cache).await?;
        self.tally.note(change.seq, taken, applied, Moment::now());
        Ok(())
    }

    /// One statement is one transaction, durable once it is answered.
    async fn apply(
        &self,
        change: &Change<'_>,
        product: Option<&Product<'_>>,
    ) -> anyhow::Result<Taken> {
        let name = product.map(|product| &product.name);
        let categories = product.map(|product| &product.categories);
        let seq = product.map(|product| product.attributes.seq);
        let text = product.map(|product| &product.attributes.text);
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(APPLY).await?;
        let rows = client
            .execute(&statement, &[&change.sku, &name, &categories, &seq, &text, &change.version])
            .await
            .context("applying a change")?;
        Ok(if rows == 1 { Taken::Newer } else { Taken::NotNewer })
    }
}
