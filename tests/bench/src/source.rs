//! What is written to: catalog's own routes in this process, or the producer of the plain app.

use axum::Router;
use axum::body::Body;
use deadpool_postgres::{Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod};
use futures::future::try_join_all;
use http::{Method, Request, StatusCode, header};
use secrecy::ExposeSecret as _;
use tokio_postgres::NoTls;
use tower::ServiceExt as _;

use crate::clock::Moment;
use crate::ops::Outcome;
use crate::plain::Producer;
use crate::sidecar::API_TOKEN;
use crate::workload::{Kind, body, sku};
use crate::writer::{CONNECTIONS, Settings};

/// An owner of products that can be written to.
#[derive(Debug)]
pub enum Source {
    /// Catalog's routes over its database.
    Catalog {
        /// Called without a socket in between.
        routes: Router,
        /// Its connections.
        pool: Pool,
    },
    /// The producer of the plain app.
    Plain(Producer),
}

impl Source {
    /// Connects as the settings say.
    pub fn connect(settings: &Settings) -> anyhow::Result<Self> {
        let url = settings.database_url.expose_secret();
        Ok(match settings.plain {
            Some(port) => Self::Plain(Producer::connect(url, port, API_TOKEN)?),
            None => {
                let pool = pool(url, CONNECTIONS)?;
                Self::Catalog { routes: catalog::routes(pool.clone()), pool }
            }
        })
    }

    /// Makes the connections.
    pub async fn warm(&self, count: usize) -> anyhow::Result<()> {
        match self {
            Self::Catalog { pool, .. } => {
                try_join_all((0..count).map(|_| pool.get())).await?;
                Ok(())
            }
            Self::Plain(producer) => producer.warm().await,
        }
    }

    /// Writes once and waits for the owner's answer; with it, when its commit was answered, where
    /// the owner does more after it.
    pub async fn write(&self, kind: Kind, seq: u64, keys: &[u32]) -> anyhow::Result<Written> {
        match self {
            Self::Catalog { routes, .. } => Ok((to_catalog(routes, kind, seq, keys).await?, None)),
            Self::Plain(producer) => to_plain(producer, kind, seq, keys).await,
        }
    }
}

/// What became of a write, and when it was committed.
type Written = (Outcome, Option<Moment>);

async fn to_plain(
    producer: &Producer,
    kind: Kind,
    seq: u64,
    keys: &[u32],
) -> anyhow::Result<Written> {
    let key = keys.first().copied().unwrap_or_default();
    let payload = body(key, seq, kind);
    let committed = match kind {
        Kind::Put | Kind::Invalid => Some(producer.put(seq, key, payload.as_bytes()).await?),
        Kind::Stale => producer.replace(seq, key, payload.as_bytes(), 0).await?,
        Kind::Delete => producer.delete(seq, key).await?,
        Kind::Many => {
            let puts = (seq..).zip(keys).map(|(seq, key)| (*key, body(*key, seq, kind).into()));
            Some(producer.put_many(seq, &puts.collect::<Vec<(u32, Vec<u8>)>>()).await?)
        }
    };
    let done = if kind == Kind::Delete { Outcome::Deleted } else { Outcome::Put };
    Ok((if committed.is_some() { done } else { Outcome::Refused }, committed))
}

/// Connections to a database, prepared statements kept.
pub fn pool(url: &str, size: usize) -> anyhow::Result<Pool> {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(url.parse()?, NoTls, config);
    Ok(Pool::builder(manager).max_size(size).queue_mode(QueueMode::Lifo).build()?)
}

async fn to_catalog(
    routes: &Router,
    kind: Kind,
    seq: u64,
    keys: &[u32],
) -> anyhow::Result<Outcome> {
    let first = keys.first().copied().unwrap_or_default();
    let one = format!("/api/v1/products/{}", sku(first));
    let request = Request::builder();
    let request = match kind {
        Kind::Put | Kind::Invalid => request
            .method(Method::PUT)
            .uri(one)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body(first, seq, kind)))?,
        Kind::Stale => request
            .method(Method::PUT)
            .uri(one)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::IF_MATCH, "\"0-00000000\"")
            .body(Body::from(body(first, seq, kind)))?,
        Kind::Delete => request.method(Method::DELETE).uri(one).body(Body::empty())?,
        Kind::Many => {
            let lines = (seq..).zip(keys).map(|(seq, key)| body(*key, seq, kind));
            request
                .method(Method::POST)
                .uri("/api/v1/products/import")
                .header(header::CONTENT_TYPE, "application/x-ndjson")
                .body(Body::from(lines.collect::<Vec<_>>().join("\n")))?
        }
    };
    let answer = routes.clone().oneshot(request).await?;
    let status = answer.status();
    // An import is carried out while its answer is read.
    axum::body::to_bytes(answer.into_body(), 1 << 20).await?;
    Ok(match status {
        StatusCode::OK | StatusCode::CREATED => Outcome::Put,
        StatusCode::NO_CONTENT => Outcome::Deleted,
        StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND => Outcome::Refused,
        other => anyhow::bail!("catalog answered {other}"),
    })
}
