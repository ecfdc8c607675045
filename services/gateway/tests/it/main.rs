//! The gateway in front of small owners that answer as a test wishes, and views over real sources.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a surprise fails the test")]

mod faults;
mod imports;
mod mall;
mod openapi;
mod road;
mod settings;
mod views;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use bus::Bus;
use clap::{Args as _, FromArgMatches as _};
use gateway::{Owners, Settings};
use secrecy::SecretString;
use serde_json::{Value, json};
use service_kit::Service;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

const BODY_BYTES_MAX: usize = 1024 * 1024;
const APP_TOKEN: &str = "what-services-show-to-each-other";

/// Addresses at which nobody listens.
const NOWHERE: [&str; 8] = [
    "--catalog-url",
    "http://127.0.0.1:1",
    "--pricing-url",
    "http://127.0.0.1:1",
    "--warehouse-url",
    "http://127.0.0.1:1",
    "--search-indexer-url",
    "http://127.0.0.1:1",
];

/// Owners on free ports and the gateway's routes in front of them.
struct World {
    routes: Router,
    _owners: JoinSet<()>,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl World {
    /// An owner that is not given listens nowhere.
    async fn start(catalog: Option<Router>, search_indexer: Option<Router>) -> Self {
        let mut owners = JoinSet::new();
        let catalog = serve(&mut owners, catalog).await;
        let search_indexer = serve(&mut owners, search_indexer).await;
        let [pricing, warehouse] = ["pricing", "warehouse"].map(named);
        let [pricing, warehouse] =
            [serve(&mut owners, Some(pricing)).await, serve(&mut owners, Some(warehouse)).await];
        let urls = [
            "--catalog-url",
            &catalog,
            "--pricing-url",
            &pricing,
            "--warehouse-url",
            &warehouse,
            "--search-indexer-url",
            &search_indexer,
        ];
        let settings =
            settings(&[&urls[..], &["--answer-ms-max", "300", "--part-ms-max", "300"]].concat());
        let bus = Bus::none().with_app_token(SecretString::from(APP_TOKEN));
        let behind = Owners::connect(&bus, &settings).unwrap();
        Self { routes: gateway::routes(behind), _owners: owners }
    }

    /// Owners that are away, and the service's own limits around the routes.
    fn limited(more: &[&str]) -> Self {
        let settings = settings(&[&NOWHERE[..], more].concat());
        let owners = Owners::connect(&Bus::none(), &settings).unwrap();
        let service = Service::start("gateway", &settings.service).unwrap();
        Self { routes: service.app(gateway::routes(owners)), _owners: JoinSet::new() }
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let answer = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status and the code of a problem, and the sentence on this occurrence.
    fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        let text = |field: &str| body[field].as_str().unwrap().to_owned();
        (self.status.as_u16(), text("code"), text("detail"))
    }
}

/// An owner without a description, which answers its name to everything else.
fn named(name: &'static str) -> Router {
    let described = get(async || Json(json!({})));
    Router::new()
        .route("/openapi.json", described)
        .fallback(async move || ([("x-syncline-service", name)], name))
}

async fn serve(owners: &mut JoinSet<()>, routes: Option<Router>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    if let Some(routes) = routes {
        owners.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    }
    url
}

fn settings(more: &[&str]) -> Settings {
    let fixed =
        ["gateway", "--log-filter", "off", "--listen", "127.0.0.1:0", "--app-api-token", APP_TOKEN];
    let command = Settings::augment_args(clap::Command::new("gateway"));
    let road: &[&str] = if more.contains(&"--cache-url") {
        &["--transport", "none"]
    } else {
        &["--transport", "none", "--cache-url", "redis://127.0.0.1:1"]
    };
    let given = fixed.iter().chain(road).chain(more);
    Settings::from_arg_matches(&command.get_matches_from(given)).unwrap()
}
