//! Probes, limits and problems over real connections.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::StatusCode,
    routing::{get, put},
};
use opentelemetry::trace::TraceContextExt as _;
use service_kit::{Json, Problem, Service};
use testkit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::world::{Running, config};

#[derive(serde::Deserialize, validator::Validate)]
struct Body {
    #[validate(length(min = 1))]
    name: String,
}

fn routes() -> Router {
    Router::new()
        .route("/hello/{name}", get(|| async { "hello" }))
        .route("/echo", put(|body: Json<Body>| async move { body.value.name }))
        .route("/panic", get(panics))
        .route("/trace", get(trace))
}

#[expect(clippy::panic, reason = "this is what is tested")]
async fn panics() -> &'static str {
    panic!("at the disco")
}

async fn trace() -> String {
    tracing::Span::current().context().span().span_context().trace_id().to_string()
}

async fn started(args: &[&str]) -> Running {
    let service = Service::start("sample", &config(args)).expect("sound settings");
    Running::start(service, routes()).await
}

async fn problem(response: reqwest::Response) -> contracts::Problem {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["x-syncline-service"], "sample");
    let status = response.status().as_u16();
    let problem: contracts::Problem = response.json().await.expect("a problem");
    assert_eq!(problem.status, status);
    problem
}

#[tokio::test]
async fn a_service_answers_its_probes_and_names_itself() {
    let service = started(&[]).await;
    for path in ["/healthz", "/readyz"] {
        let response = service.get(path).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-syncline-service"], "sample");
    }
    let version: serde_json::Value = service.get("/version").await.json().await.unwrap();
    assert_eq!(version["service"], "sample");
}

#[tokio::test]
async fn a_service_is_ready_only_while_every_check_agrees() {
    let service = Service::start("sample", &config(&[])).unwrap();
    service.ready_when("heads", || async { false });
    service.ready_when("index", || async { Ok::<(), String>(()) });
    let service = Running::start(service, routes()).await;
    let refusal = problem(service.get("/readyz").await).await;
    assert_eq!(refusal.detail.as_deref(), Some("waiting for heads"));
    let response = service.get("/readyz?verbose").await;
    assert_eq!(response.status(), 503);
    let report: serde_json::Value = response.json().await.unwrap();
    assert_eq!(report["ready"], false);
    assert_eq!(report["checks"][1]["name"], "heads");
    assert_eq!(report["checks"][2], serde_json::json!({"name": "index", "ready": true}));
}

#[tokio::test]
async fn a_service_that_only_owns_says_what() {
    let service = Service::start("sample", &config(&[])).unwrap();
    service.ready_when("heads", || async { false });
    let topics = ["shop.shelves", "shop.boxes"].map(|name| contracts::Topic::parse(name).unwrap());
    let status = service.status(&topics);
    let service = Running::start(service, routes().merge(status)).await;
    let status: serde_json::Value = service.get("/sync/status").await.json().await.unwrap();
    let topics = serde_json::json!([{"topic": "shop.shelves"}, {"topic": "shop.boxes"}]);
    let expected = serde_json::json!({"service": "sample", "ready": false, "topics": topics});
    assert_eq!(status, expected);
}

#[tokio::test]
async fn what_no_route_takes_is_a_problem() {
    let service = started(&[]).await;
    assert_eq!(problem(service.get("/nowhere").await).await.code, "not-found");
    let response = service.get("/echo").await;
    assert_eq!(response.headers()["allow"], "PUT");
    assert_eq!(problem(response).await.code, "method-not-allowed");
    let response = service.get("/hello/%ff").await;
    assert_eq!(response.status(), 200, "the handler reads no path, so nothing is wrong with it");
}

#[tokio::test]
async fn refusals_of_the_library_become_problems() {
    let routes =
        Router::new().route("/n/{n}", get(|_: axum::extract::Path<u8>| async { "a number" }));
    let service = Service::start("sample", &config(&[])).unwrap();
    let service = Running::start(service, routes).await;
    let refusal = problem(service.get("/n/many").await).await;
    assert_eq!((refusal.status, refusal.code.as_str()), (400, "bad-request"));
    assert!(refusal.detail.unwrap().contains("many"));
}

#[tokio::test]
async fn a_panic_is_a_500_and_nothing_else_suffers() {
    let service = started(&[]).await;
    let refusal = problem(service.get("/panic").await).await;
    assert_eq!((refusal.status, refusal.code.as_str()), (500, "internal"));
    assert!(!refusal.detail.unwrap().contains("disco"));
    assert_eq!(service.get("/hello/a").await.status(), 200);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_while_it_is_still_sent() {
    let service = started(&[]).await;
    let body = format!("{{\"name\":\"{}\"}}", "a".repeat(3 << 20));
    let request = reqwest::Client::new().put(service.url("/echo")).body(body);
    let request = request.header("content-type", "application/json");
    assert_eq!(problem(request.send().await.unwrap()).await.code, "body-too-large");
}

#[tokio::test]
async fn more_requests_than_allowed_are_refused_but_probes_are_not() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, left) = (Arc::clone(&entered), Arc::clone(&leave));
    let routes = Router::new().route(
        "/wait",
        get(|| async move {
            enter.notify_one();
            left.notified().await;
            "done"
        }),
    );
    let service = Service::start("sample", &config(&["--http-requests-max", "1"])).unwrap();
    let service = Running::start(service, routes).await;
    let waiting = reqwest::get(service.url("/wait"));
    let others = async {
        entered.notified().await;
        let response = service.get("/wait").await;
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(problem(response).await.code, "overloaded");
        assert_eq!(service.get("/readyz").await.status(), 200);
        leave.notify_one();
    };
    let (waited, ()) = tokio::join!(waiting, others);
    assert_eq!(waited.unwrap().status(), 200);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let routes = Router::new().route("/never", get(std::future::pending::<&str>));
    let service = Service::start("sample", &config(&["--http-request-ms-max", "20"])).unwrap();
    let service = Running::start(service, routes).await;
    assert_eq!(problem(service.get("/never").await).await.code, "timeout");
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_what_to_set() {
    for (args, named) in [
        (["--shutdown-ms-max", "14999"], "SHUTDOWN_MS_MAX"),
        (["--http-request-ms-max", "15001"], "HTTP_REQUEST_MS_MAX"),
        (["--http-first-head-ms-max", "120001"], "HTTP_FIRST_HEAD_MS_MAX"),
        (["--http-requests-max", "0"], "HTTP_REQUESTS_MAX"),
        (["--http-body-bytes-max", "0"], "HTTP_BODY_BYTES_MAX"),
        (["--http-connections-max", "1000000000000"], "HTTP_CONNECTIONS_MAX"),
    ] {
        let said = Service::start("sample", &config(&args)).unwrap_err().to_string();
        assert!(said.contains(named), "{args:?}: {said}");
    }
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let service = started(&[]).await;
    for (bytes, status) in [(100 << 10, *b"HTTP/1.1 200"), (200 << 10, *b"HTTP/1.1 431")] {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let head = format!("GET /hello/a HTTP/1.1\r\nhost: a\r\nx-long: {}", "x".repeat(bytes));
        stream.write_all(head.as_bytes()).await.unwrap();
        // It may be closed already.
        let _ = stream.write_all(b"\r\n\r\n").await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, status, "{bytes} bytes");
    }
}

#[tokio::test]
async fn bodies_that_are_awaited_take_nobodys_turn() {
    let service = started(&["--http-requests-max", "1"]).await;
    let half = "PUT /echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 13\r\n\r\n{\"name\":";
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // Each may still be on its way into its handler, where it holds the turn for a moment.
    eventually("others are served", async || {
        Ok(service.get("/hello/a").await.status() == StatusCode::OK)
    })
    .await;
    for stream in &mut slow {
        stream.write_all(b"\"me\"}").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, *b"HTTP/1.1 200");
    }
}

#[tokio::test]
async fn an_awaited_body_makes_room_where_connections_are_scarce() {
    let service = started(&["--http-connections-max", "1"]).await;
    let mut slow = TcpStream::connect(service.address).await.unwrap();
    let half = "PUT /echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 13\r\n\r\n{\"name\":";
    slow.write_all(half.as_bytes()).await.unwrap();
    let mut healthy = TcpStream::connect(service.address).await.unwrap();
    exchange(&mut healthy).await;
    assert!(is_closed(&mut slow).await);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let service = started(&["--http-idle-ms-max", "20", "--http-first-head-ms-max", "20"]).await;
    let mut silent = TcpStream::connect(service.address).await.unwrap();
    assert!(is_closed(&mut silent).await, "the connection is still open");
}

#[tokio::test]
async fn a_connection_that_never_asks_is_closed_long_before_one_that_did() {
    let service = started(&["--http-first-head-ms-max", "100"]).await;
    let mut asked = TcpStream::connect(service.address).await.unwrap();
    exchange(&mut asked).await;
    let mut silent = TcpStream::connect(service.address).await.unwrap();
    silent.write_all(b"GET /heal").await.unwrap();
    assert!(is_closed(&mut silent).await);
    exchange(&mut asked).await;
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let service = started(&["--http-connections-max", "3"]).await;
    let mut oldest = TcpStream::connect(service.address).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        exchange(&mut stream).await;
        held.push(stream);
    }
    for _ in 0..5 {
        let mut probe = TcpStream::connect(service.address).await.unwrap();
        exchange(&mut probe).await;
        held.push(probe);
    }
    assert!(is_closed(&mut oldest).await);
    let mut newest = held.pop().unwrap();
    exchange(&mut newest).await;
}

#[tokio::test]
async fn a_connection_with_a_request_in_work_is_not_closed_for_another() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, left) = (Arc::clone(&entered), Arc::clone(&leave));
    let wait = get(|| async move {
        enter.notify_one();
        left.notified().await;
        "done"
    });
    let service = Service::start("sample", &config(&["--http-connections-max", "1"])).unwrap();
    let service = Running::start(service, routes().route("/wait", wait)).await;
    let waiting = reqwest::get(service.url("/wait"));
    let others = async {
        entered.notified().await;
        let mut probe = TcpStream::connect(service.address).await.unwrap();
        let kept_out = tokio::time::timeout(Duration::from_millis(200), exchange(&mut probe));
        assert!(kept_out.await.is_err());
        leave.notify_one();
    };
    let (waited, ()) = tokio::join!(waiting, others);
    assert_eq!(waited.unwrap().text().await.unwrap(), "done");
    // Now that it is idle it makes room.
    assert_eq!(service.get("/healthz").await.status(), 200);
}

/// Asks for a probe on this connection and reads its answer, which must come soon.
async fn exchange(stream: &mut TcpStream) {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("open");
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"\r\n\r\nok") {
            assert_ne!(stream.read_buf(&mut answer).await.expect("open"), 0, "it was closed");
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("an answer in time");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    // A reset is an end too.
    tokio::time::timeout(Duration::from_secs(5), read).await.is_ok()
}

#[tokio::test]
async fn the_callers_trace_goes_on_and_a_problem_names_it() {
    let service = Service::start("sample", &config(&[])).unwrap();
    let refuse = get(|| async { Problem::not_found("nothing here") });
    let service = Running::start(service, routes().route("/refuse", refuse)).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let ask = |path| {
        let request = reqwest::Client::new().get(service.url(path));
        request.header("traceparent", &parent).send()
    };
    assert_eq!(ask("/trace").await.unwrap().text().await.unwrap(), trace);
    let refusal = problem(ask("/refuse").await.unwrap()).await;
    assert_eq!(refusal.trace_id.as_deref(), Some(trace));
}

#[tokio::test]
async fn problems_that_others_made_are_completed() {
    let service = Service::start("sample", &config(&[])).unwrap();
    let foreign = |body: &'static str| {
        let media = [("content-type", contracts::Problem::MEDIA_TYPE)];
        get(move || async move { (StatusCode::SERVICE_UNAVAILABLE, media, body) })
    };
    let away = r#"{"type":"/problems/away","title":"Away","status":503,"code":"away","more":[1]}"#;
    let traced =
        r#"{"type":"/problems/away","title":"Away","status":503,"code":"away","trace_id":"there"}"#;
    let routes = Router::new().route("/away", foreign(away)).route("/traced", foreign(traced));
    let service = Running::start(service, routes.route("/odd", foreign("no JSON"))).await;
    let response = service.get("/away").await;
    assert_eq!(response.headers()["retry-after"], "1");
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["trace_id"].as_str().unwrap().len(), 32);
    assert_eq!(body["more"], serde_json::json!([1]));
    let traced = problem(service.get("/traced").await).await;
    assert_eq!(traced.trace_id.as_deref(), Some("there"));
    assert_eq!(service.get("/odd").await.text().await.unwrap(), "no JSON");
}

#[tokio::test]
async fn metrics_count_requests_by_route_without_foreign_labels() {
    let service = started(&[]).await;
    service.get("/hello/a").await;
    service.get("/hello/b").await;
    let text = service.get("/metrics").await.text().await.unwrap();
    let line = text.lines().find(|line| {
        line.starts_with("service_kit_request_duration_seconds_count")
            && line.contains("route=\"/hello/{name}\"")
    });
    let line = line.unwrap_or_else(|| panic!("no such series in {text}"));
    assert!(line.ends_with(" 2"), "{line}");
    assert!(!text.contains("otel_scope") && !text.contains("target_info"), "{text}");
}
