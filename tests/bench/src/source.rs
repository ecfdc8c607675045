//! What is written to: catalog's own routes in this process, or the producer of the plain app.

use axum::Router;
use axum::body::Body;
use clap::ValueEnum;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use futures::future::try_join_all;
use http::{Method, Request, StatusCode, header};
use secrecy::ExposeSecret as _;
use tokio_postgres::NoTls;
use tower::ServiceExt as _;

use crate::ops::Outcome;
use crate::workload::{Kind, body, sku};
use crate::writer::{Settings, WRITERS};

/// Who takes the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// Catalog, with its outbox.
    Syncline,
    /// The plain Dapr app.
    Plain,
}

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
}

impl Source {
    /// Connects as the settings say.
    pub async fn connect(settings: &Settings) -> anyhow::Result<Self> {
        match settings.peer {
            Peer::Syncline => {
                let pool = pool(settings.database_url.expose_secret(), WRITERS)?;
                Ok(Self::Catalog { routes: catalog::routes(pool.clone()), pool })
            }
            Peer::Plain => anyhow::bail!("the plain app is not there yet"),
        }
    }

    /// Makes the connections.
    pub async fn warm(&self, count: usize) -> anyhow::Result<()> {
        match self {
            Self::Catalog { pool, .. } => {
                try_join_all((0..count).map(|_| pool.get())).await?;
                Ok(())
            }
        }
    }

    /// Writes once and waits for the owner's answer.
    pub async fn write(&self, kind: Kind, seq: u64, keys: &[u32]) -> anyhow::Result<Outcome> {
        match self {
            Self::Catalog { routes, .. } => to_catalog(routes, kind, seq, keys).await,
        }
    }
}

/// Connections to a database, prepared statements kept.
pub fn pool(url: &str, size: usize) -> anyhow::Result<Pool> {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(url.parse()?, NoTls, config);
    Ok(Pool::builder(manager).max_size(size).build()?)
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
