//! A migrated database, the service's rights on it, and its routes in process.

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, Response, StatusCode},
};
use catalog::{Catalog, Settings};
use clap::Parser as _;
use serde_json::Value;
use service_kit::{Program as _, Service};
use testkit::Database;
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
    pub(crate) app: Router,
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
        let app = app(&service_url(&database.url())).await?;
        Ok(Self { database, app })
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

    /// Uploads a file of this media type.
    pub(crate) async fn import(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        file: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method("POST").uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(file.into()).expect("a legal request");
        answer(&self.app, "POST", path, request).await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Answer {
        self.send("PUT", path, &[], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// How many products, categories, published records, changes and kept answers there are.
    pub(crate) async fn stored(&self) -> anyhow::Result<[i64; 5]> {
        let client = self.database.connect().await?;
        let row = client
            .query_one(
                "select array[
                    (select count(*) from catalog.product), (select count(*) from catalog.category),
                    (select count(*) from outbox.current), (select count(*) from outbox.change),
                    (select count(*) from records.answer)] as counts",
                &[],
            )
            .await?;
        let counts: Vec<i64> = row.try_get("counts")?;
        counts.try_into().map_err(|_| anyhow::anyhow!("five counts"))
    }
}

pub(crate) async fn migrated() -> anyhow::Result<Database> {
    let database = Database::create("catalog").await?;
    let mut client = database.connect().await?;
    Catalog::migrate(&mut client).await.map_err(|error| anyhow::anyhow!(error))?;
    Ok(database)
}

/// The same database with the rights of the service only.
pub(crate) fn service_url(url: &str) -> String {
    format!("{url}?options=-c%20role%3Dsyncline_service")
}

pub(crate) async fn app(url: &str) -> anyhow::Result<Router> {
    let arguments = ["test", "--listen", "127.0.0.1:0", "--log-filter", "off"];
    let arguments = arguments.into_iter().chain(["--database-url", url]);
    let settings = Arguments::try_parse_from(arguments)?.settings;
    let service = Service::start("catalog", &settings.service)?;
    let pool = service.pool(&settings.database).await?;
    Ok(service.app(catalog::routes(pool)))
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
    answer(app, method, path, request).await
}

async fn answer(app: &Router, method: &str, path: &str, request: Request<Body>) -> Answer {
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

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    /// Status and code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("x-syncline-service"), "catalog");
        let problem: contracts::Problem = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!(problem.status, self.status.as_u16());
        assert!(problem.detail.is_some_and(|detail| !detail.is_empty()), "no detail");
        (problem.status, problem.code)
    }

    /// Pointer and code of the first field at fault.
    pub(crate) fn field(&self) -> (String, String) {
        let problem: contracts::Problem = serde_json::from_slice(&self.body).expect("a problem");
        let field = problem.errors.first().cloned().expect("a field at fault");
        assert!(!field.message.is_empty(), "no reason");
        (field.pointer, field.code)
    }
}
