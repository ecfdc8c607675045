//! The relay's program from outside: several sources, one of them away.

#![expect(clippy::unwrap_used, reason = "a surprise fails the test")]

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use clap::{Args as _, Command, FromArgMatches as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use bus::Bus;
use relay::Settings;
use testkit::Database;

fn settings(sources: &str) -> Settings {
    let command = Settings::augment_args(Command::new("relay"));
    let arguments = [
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--transport",
        "none",
        "--app-api-token",
        "secret",
        "--sources",
        sources,
    ];
    Settings::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap()
}

async fn ask(routes: &Router, uri: &str, token: &str, body: Value) -> (StatusCode, Value) {
    let method = if body.is_null() { "GET" } else { "POST" };
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("dapr-api-token", token)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = routes.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn a_source_that_is_away_is_shown_and_holds_up_no_other() {
    let database = Database::create("relay").await.unwrap();
    database.migrate("outbox", outbox::MIGRATIONS).await.unwrap();
    let away = database.url().replace(database.name(), "nowhere");
    let settings = settings(&format!("away={away},shop={}", database.url()));
    let bus = Bus::connect(&settings.bus, "relay").unwrap();
    let relays = relay::open(&settings, &bus).unwrap();
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    for relay in relays.clone() {
        let stop = stop.clone();
        running.spawn(async move { relay.run(stop).await });
    }
    let routes = relay::routes(&bus, relays);

    testkit::eventually("one source leads and the other is away", || async {
        let (_, status) = ask(&routes, "/sync/status", "", Value::Null).await;
        let states: Vec<_> =
            status["sources"].as_array().unwrap().iter().map(|s| s["state"].clone()).collect();
        Ok(states == ["away", "leading"])
    })
    .await;
    let (_, status) = ask(&routes, "/sync/status", "", Value::Null).await;
    assert_eq!(status["transport"], "none");
    assert!(status["sources"][0]["error"].is_string());

    let call = |source: &str| {
        json!({ "consumer": "c", "identity": "00000000-0000-4000-8000-000000000000",
                "topics": [format!("{source}.items")], "positions": null })
    };
    let (answered, _) = ask(&routes, "/sources/shop/sync", "secret", call("shop")).await;
    assert_eq!(answered, 200);
    let (answered, _) = ask(&routes, "/sources/away/sync", "secret", call("away")).await;
    assert_eq!(answered, 503);
    let (answered, _) = ask(&routes, "/sources/shop/sync", "wrong", call("shop")).await;
    assert_eq!(answered, 401);
    let (answered, _) = ask(&routes, "/sources/mall/sync", "secret", call("mall")).await;
    assert_eq!(answered, 404);

    stop.cancel();
    while running.join_next().await.is_some() {}
}

/// A frozen database: the kernel accepts for it, and nobody ever answers.
#[tokio::test]
async fn frozen_sources_cost_the_status_one_deadline_and_not_one_each() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody@{}/frozen", silent.local_addr().unwrap());
    let settings = settings(&format!("a={url},b={url},c={url}"));
    let bus = Bus::connect(&settings.bus, "relay").unwrap();
    let routes = relay::routes(&bus, relay::open(&settings, &bus).unwrap());
    let asking = ask(&routes, "/sync/status", "", Value::Null);
    let (status, answer) = timeout(Duration::from_secs(9), asking).await.unwrap();
    assert_eq!((status.as_u16(), answer["sources"].as_array().map(Vec::len)), (200, Some(3)));
}
