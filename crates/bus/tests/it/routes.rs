//! What deliveries are answered with, asked without a sidecar.

use axum::Router;
use axum::body::{Body, to_bytes};
use bus::{Bus, Verdict};
use contracts::Problem;
use http::{Method, Request, StatusCode};
use secrecy::SecretString;
use tower::ServiceExt as _;

use crate::{Recorder, products};

const ROUTE: &str = "/events/catalog.products.normal";

fn service() -> Bus {
    Bus::none().with_app_token(SecretString::from("right"))
}

async fn answer(routes: Router, request: Request<Body>) -> StatusCode {
    routes.oneshot(request).await.unwrap().status()
}

async fn post(bus: &Bus, path: &str, token: &str, body: &str) -> StatusCode {
    let request = Request::post(path).header("dapr-api-token", token);
    answer(bus.routes(), request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_delivery_is_answered_with_the_verdict() {
    let bus = service();
    let recorder =
        Recorder::new(|body, _| if body == "bad" { Verdict::Retry } else { Verdict::Done });
    bus.subscribe(&products(), recorder.handler());
    assert_eq!(post(&bus, ROUTE, "right", "good").await, StatusCode::OK);
    assert_eq!(post(&bus, ROUTE, "right", "bad").await, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(post(&bus, "/events/catalog.products.bulk", "right", "x").await, StatusCode::OK);
    assert_eq!(recorder.bodies(), ["good", "bad", "x"]);
}

#[tokio::test]
async fn what_nobody_handles_is_an_error_and_never_not_found() {
    let bus = service();
    assert_eq!(post(&bus, ROUTE, "right", "early").await, StatusCode::INTERNAL_SERVER_ERROR);
    bus.subscribe(&products(), Recorder::content().handler());
    for path in [
        "/events/catalog.products-old.normal",
        "/events/catalog.categories.normal",
        "/events/UPPER",
        "/events/catalog.products.normal/more",
        "/events/catalog.products.normal/",
        "/events//catalog.products.normal",
        "/events/..%2Fapi",
        "/events/",
        "/events",
    ] {
        assert_eq!(
            post(&bus, path, "right", "x").await,
            StatusCode::INTERNAL_SERVER_ERROR,
            "{path}"
        );
    }
    let get = Request::builder().method(Method::GET).uri(ROUTE).header("dapr-api-token", "right");
    let status = answer(bus.routes(), get.body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_next_delivery_is_taken() {
    let bus = service();
    let recorder = Recorder::new(|body, _| {
        assert_ne!(body, "bomb");
        Verdict::Done
    });
    bus.subscribe(&products(), recorder.handler());
    assert_eq!(post(&bus, ROUTE, "right", "bomb").await, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(post(&bus, ROUTE, "right", "fine").await, StatusCode::OK);
}

#[tokio::test]
async fn strangers_are_refused() {
    let bus = service();
    let recorder = Recorder::content();
    bus.subscribe(&products(), recorder.handler());
    for token in ["", "wrong", "righ", "right "] {
        assert_eq!(post(&bus, ROUTE, token, "x").await, StatusCode::UNAUTHORIZED, "{token:?}");
    }
    let bare = Request::post(ROUTE).body(Body::from("x")).unwrap();
    assert_eq!(answer(bus.routes(), bare).await, StatusCode::UNAUTHORIZED);

    let tokenless = Bus::none();
    tokenless.subscribe(&products(), recorder.handler());
    assert_eq!(post(&tokenless, ROUTE, "", "x").await, StatusCode::UNAUTHORIZED);
    let empty = Bus::none().with_app_token(SecretString::from(""));
    empty.subscribe(&products(), recorder.handler());
    assert_eq!(post(&empty, ROUTE, "", "x").await, StatusCode::UNAUTHORIZED);
    assert!(recorder.bodies().is_empty());
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let bus = service();
    for (path, token, code, words) in [
        (ROUTE, "wrong", "app-token", "APP_API_TOKEN"),
        (ROUTE, "right", "unknown-stream", "catalog.products.normal"),
        ("/events", "right", "unknown-route", "/events/"),
    ] {
        let request = Request::post(path).header("dapr-api-token", token);
        let answer = bus.routes().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.headers()["content-type"], Problem::MEDIA_TYPE);
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.code, code);
        let detail = problem.detail.unwrap();
        assert!(detail.contains(words), "{detail}");
    }
}

#[tokio::test]
async fn routes_beside_the_deliveries_are_left_alone() {
    let status = post(&service(), "/api", "", "x").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let bus = service();
    let recorder = Recorder::content();
    bus.subscribe(&products(), recorder.handler());
    let limit = 4 * 1024 * 1024;
    assert_eq!(post(&bus, ROUTE, "right", &"x".repeat(limit)).await, StatusCode::OK);
    let over = post(&bus, ROUTE, "right", &"x".repeat(limit + 1)).await;
    assert_eq!(over, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(recorder.bodies().len(), 1);
}
