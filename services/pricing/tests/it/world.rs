//! A migrated database, the service's rights on it, its routes in process, and its worker.

use std::sync::atomic::{AtomicI64, Ordering};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, Response, StatusCode},
};
use clap::Parser as _;
use contracts::Version;
use inbox::{Change, Projection as _, Transaction};
use pricing::{Desk, Pricing, Product, Products, Settings};
use serde_json::Value;
use service_kit::{Program as _, Service};
use testkit::Database;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::document;

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

/// One service over one database.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) desk: Desk,
    pub(crate) app: Router,
}

/// The boundary worker, until dropped.
pub(crate) struct Worker {
    _stop: tokio_util::sync::DropGuard,
    _tasks: JoinSet<()>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Bytes,
}

impl World {
    pub(crate) async fn create() -> anyhow::Result<Self> {
        let database = migrated().await?;
        let (desk, app) = app(&service_url(&database.url())).await?;
        Ok(Self { database, desk, app })
    }

    /// Lets promotions start and end.
    pub(crate) fn work(&self) -> Worker {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let keep = self.desk.clone().keep_boundaries(stop.clone());
        tasks.spawn(async move { keep.await.expect("the worker ends well") });
        Worker { _stop: stop.drop_guard(), _tasks: tasks }
    }

    /// Sends a request with these headers; a body is sent as JSON unless they say otherwise.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        send(&self.app, method, path, headers, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Answer {
        self.send("PUT", path, &[], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// Gives a product a price in dollars.
    pub(crate) async fn price(&self, sku: &str, amount: &str) -> Answer {
        let body = format!(r#"{{"currency":"USD","amount":"{amount}"}}"#);
        self.put(&format!("/api/v1/prices/{sku}"), &body).await
    }

    /// What a product costs: effective amount, promotion, and whether that will change by itself.
    pub(crate) async fn costs(&self, sku: &str) -> (String, String, bool) {
        let price = self.get(&format!("/api/v1/prices/{sku}")).await.json();
        let text = |name: &str| price[name].as_str().unwrap_or_default().to_owned();
        (text("effective"), text("promotion"), price["until"].is_string())
    }

    /// The catalog says that there is this product, or that there is none.
    pub(crate) async fn hear(&self, sku: &str, product: Option<Product>) -> anyhow::Result<()> {
        static VERSION: AtomicI64 = AtomicI64::new(1);
        let version = Version::try_from(VERSION.fetch_add(1, Ordering::SeqCst))?;
        let key = contracts::Key::parse(sku)?;
        let pool = self.database.pool(1)?;
        let client = pool.get().await?;
        let tx = Transaction::begin(&client).await?;
        let change = Change { key, version, entity: product, place: None };
        Products.apply(&tx, &[change]).await?;
        Ok(tx.commit().await?)
    }

    /// How many prices, promotions, published records and changes there are.
    pub(crate) async fn stored(&self) -> anyhow::Result<[i64; 4]> {
        let client = self.database.connect().await?;
        let row = client
            .query_one(
                "select array[
                    (select count(amount) from pricing.price),
                    (select count(*) from pricing.promotion),
                    (select count(*) from outbox.current where not deleted),
                    (select count(*) from outbox.change)] as counts",
                &[],
            )
            .await?;
        let counts: Vec<i64> = row.try_get("counts")?;
        counts.try_into().map_err(|_| anyhow::anyhow!("four counts"))
    }
}

pub(crate) async fn migrated() -> anyhow::Result<Database> {
    let database = Database::create("pricing").await?;
    let mut client = database.connect().await?;
    Pricing::migrate(&mut client).await.map_err(|error| anyhow::anyhow!(error))?;
    Ok(database)
}

/// The same database with the rights of the service only.
pub(crate) fn service_url(url: &str) -> String {
    format!("{url}?options=-c%20role%3Dsyncline_service")
}

pub(crate) async fn app(url: &str) -> anyhow::Result<(Desk, Router)> {
    let arguments = ["test", "--listen", "127.0.0.1:0", "--log-filter", "off"];
    let arguments =
        arguments.into_iter().chain(["--transport", "none", "--app-api-token", "token"]);
    let settings = Arguments::try_parse_from(arguments.chain(["--database-url", url]))?.settings;
    let service = Service::start("pricing", &settings.service)?;
    let desk = Desk::new(service.pool(&settings.database).await?);
    let routes = pricing::routes(&desk, &inbox::Monitor::default(), &bus::Bus::none());
    Ok((desk, service.app(routes)))
}

pub(crate) async fn send(
    app: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).expect("a legal request");
    let response: Response<Body> = app.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 8 << 20).await.expect("a whole body");
    let answer = Answer { status: parts.status, headers: parts.headers, body };
    document::check(method, path, &answer);
    answer
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn etag(&self) -> &str {
        self.header("etag")
    }

    /// A header; nothing where it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    /// Status and code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem: contracts::Problem = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!(problem.status, self.status.as_u16());
        assert!(problem.detail.is_some_and(|detail| !detail.is_empty()), "no detail");
        (problem.status, problem.code)
    }

    /// Pointers and codes of the fields at fault.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let problem: contracts::Problem = serde_json::from_slice(&self.body).expect("a problem");
        let fields = problem.errors.into_iter().map(|field| {
            assert!(!field.message.is_empty(), "no reason");
            (field.pointer, field.code)
        });
        fields.collect()
    }
}
