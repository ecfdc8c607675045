//! A migrated database, the service's rights on it, and its routes in process.

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, Response, StatusCode},
};
use bus::Bus;
use clap::Parser as _;
use deadpool_postgres::Pool;
use serde_json::{Value, json};
use service_kit::{Program as _, Service};
use testkit::Database;
use tower::ServiceExt as _;
use warehouse::{Expiry, Warehouse};

use crate::document;

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    service: service_kit::Config,
    #[command(flatten)]
    database: service_kit::Database,
}

/// One service over one database.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) app: Router,
    pub(crate) pool: Pool,
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
        let (app, pool) = app(&service_url(&database.url())).await?;
        Ok(Self { database, app, pool })
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

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    /// Counts stock `a` at location `s`.
    pub(crate) async fn count(&self, on_hand: i64) -> Answer {
        self.put(STOCK, &json!({ "on_hand": on_hand }).to_string()).await
    }

    /// Reserves stock `a` at location `s`.
    pub(crate) async fn reserve(&self, quantity: i64, seconds: i64) -> Answer {
        self.post(RESERVATIONS, &wanted(quantity, seconds)).await
    }

    /// On hand, reserved and available of stock `a` at location `s`, as they are read.
    pub(crate) async fn level(&self) -> (i64, i64, i64) {
        let stock = self.get(STOCK).await.json();
        let of = |field: &str| stock[field].as_i64().expect("a whole number");
        (of("on_hand"), of("reserved"), of("available"))
    }

    /// The worker that ends reservations; it does nothing until it is asked.
    pub(crate) fn expiry(&self) -> Expiry {
        Expiry::new(self.pool.clone())
    }

    /// Moves the time of all open reservations so many seconds back, as if they had passed.
    pub(crate) async fn pass(&self, seconds: f64) -> anyhow::Result<u64> {
        let client = self.database.connect().await?;
        let pass = "update warehouse.reservation set expires_at = expires_at - $1 * '1 s'::interval
            where state = 'open'";
        Ok(client.execute(pass, &[&seconds]).await?)
    }

    /// How many locations, stock rows, reservations, published records, changes and kept answers
    /// there are.
    pub(crate) async fn stored(&self) -> anyhow::Result<[i64; 6]> {
        let client = self.database.connect().await?;
        let row = client
            .query_one(
                "select array[
                    (select count(*) from warehouse.location),
                    (select count(*) from warehouse.stock),
                    (select count(*) from warehouse.reservation),
                    (select count(*) from outbox.current), (select count(*) from outbox.change),
                    (select count(*) from records.answer)] as counts",
                &[],
            )
            .await?;
        let counts: Vec<i64> = row.try_get("counts")?;
        counts.try_into().map_err(|_| anyhow::anyhow!("six counts"))
    }

    /// Fails unless every row agrees with its open reservations and with what is published of it,
    /// and every location with what is published of that.
    pub(crate) async fn assert_sound(&self) -> anyhow::Result<()> {
        let client = self.database.connect().await?;
        let wrong = "
            select coalesce(stock.sku || '/' || stock.location, published.key) as key
              from warehouse.stock
              full join (select * from outbox.current where topic = 'warehouse.stock'
                         and not deleted) as published
                on published.key = stock.sku || '/' || stock.location
             where convert_from(published.payload, 'UTF8')::jsonb is distinct from
                   jsonb_build_object('sku', stock.sku, 'location', stock.location,
                     'on_hand', stock.on_hand, 'reserved', stock.reserved,
                     'available', stock.on_hand - stock.reserved)
                or stock.reserved <> (
                     select coalesce(sum(quantity), 0) from warehouse.reservation as open
                      where open.sku = stock.sku and open.location = stock.location
                        and state = 'open')
            union all
            select coalesce(location.id, published.key) as key
              from warehouse.location
              full join (select * from outbox.current where topic = 'warehouse.locations'
                         and not deleted) as published
                on published.key = location.id
             where convert_from(published.payload, 'UTF8')::jsonb is distinct from
                   jsonb_build_object('id', id, 'name', name, 'city', city, 'region', region,
                     'postcode', postcode)";
        let wrong = client.query(wrong, &[]).await?;
        let wrong: Vec<String> = wrong.iter().map(|row| row.get("key")).collect();
        assert!(wrong.is_empty(), "not as reserved or published: {wrong:?}");
        Ok(())
    }
}

/// Stock `a` at location `s`.
pub(crate) const STOCK: &str = "/api/v1/stock/a/s";
/// Where reservations are made.
pub(crate) const RESERVATIONS: &str = "/api/v1/reservations";

/// Body of a reservation of stock `a` at location `s`.
pub(crate) fn wanted(quantity: i64, seconds: i64) -> String {
    json!({ "sku": "a", "location": "s", "quantity": quantity, "expires_in_seconds": seconds })
        .to_string()
}

pub(crate) async fn migrated() -> anyhow::Result<Database> {
    let database = Database::create("warehouse").await?;
    let mut client = database.connect().await?;
    Warehouse::migrate(&mut client).await.map_err(|error| anyhow::anyhow!(error))?;
    Ok(database)
}

/// The same database with the rights of the service only.
pub(crate) fn service_url(url: &str) -> String {
    format!("{url}?options=-c%20role%3Dsyncline_service")
}

pub(crate) async fn app(url: &str) -> anyhow::Result<(Router, Pool)> {
    let arguments = ["test", "--listen", "127.0.0.1:0", "--log-filter", "off"];
    let arguments = arguments.into_iter().chain(["--database-url", url]);
    let Arguments { service, database } = Arguments::try_parse_from(arguments)?;
    let service = Service::start("warehouse", &service)?;
    let pool = service.pool(&database).await?;
    let (monitor, bus) = (inbox::Monitor::default(), Bus::none());
    let routes = warehouse::routes(&monitor, pool.clone(), &bus);
    Ok((service.app(routes), pool))
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

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    /// Status and code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("x-syncline-service"), "warehouse");
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
