//! The road to an owner and back: what passes, what does not, and what failure looks like.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use futures::stream;

use crate::{APP_TOKEN, Answer, BODY_BYTES_MAX, World};

const PRODUCT: &str = "/api/v1/products/MH01-XS.Black_1";

/// Names the service, as every owner does.
fn own(answer: impl axum::response::IntoResponse) -> Response {
    ([("x-syncline-service", "catalog")], answer).into_response()
}

/// Answers with what it was asked, and with headers of both kinds.
async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut lines =
        vec![format!("{} {}", parts.method, parts.uri), format!("{} bytes", body.len())];
    let headers =
        parts.headers.iter().filter(|(name, _)| !["host", "accept"].contains(&name.as_str()));
    lines.extend(headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
    lines.sort();
    let headers = [
        ("etag", "\"7-0a1b2c3d\""),
        ("location", "/api/v1/products/x"),
        ("connection", "x-private"),
        ("x-private", "1"),
        ("keep-alive", "timeout=5"),
    ];
    own((StatusCode::CREATED, headers, lines.join("\n")))
}

async fn in_front_of(route: axum::routing::MethodRouter) -> World {
    World::start(Some(Router::new().fallback_service(route)), None).await
}

fn put(body: impl Into<Body>) -> Request {
    Request::put(PRODUCT).body(body.into()).unwrap()
}

#[tokio::test]
async fn a_write_passes_with_what_the_owner_needs_and_nothing_else() {
    let world = in_front_of(any(echo)).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::put(format!("{PRODUCT}?dry=a%20b"))
        .header("content-type", "application/json")
        .header("if-match", "\"6-00000000\"")
        .header("idempotency-key", "k1")
        .header("traceparent", trace)
        .header("dapr-app-id", "relay")
        .header("dapr-api-token", "forged")
        .header("authorization", "Basic ZGFwci1hcHAtaWQ6cmVsYXk=")
        .header("connection", "keep-alive")
        .header("x-other", "1");
    let answer = world.ask(request.body(Body::from("{}")).unwrap()).await;
    let seen = String::from_utf8(answer.body).unwrap();
    let expected = [
        "2 bytes".to_owned(),
        format!("PUT {PRODUCT}?dry=a%20b"),
        "content-length: 2".to_owned(),
        "content-type: application/json".to_owned(),
        format!("dapr-api-token: {APP_TOKEN}"),
        "idempotency-key: k1".to_owned(),
        "if-match: \"6-00000000\"".to_owned(),
        format!("traceparent: {trace}"),
    ];
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.headers["etag"], "\"7-0a1b2c3d\"");
    assert_eq!(answer.headers["location"], "/api/v1/products/x");
    for dropped in ["connection", "x-private", "keep-alive"] {
        assert!(!answer.headers.contains_key(dropped), "{dropped}");
    }
}

#[tokio::test]
async fn repeated_headers_all_reach_the_owner() {
    let world = in_front_of(any(echo)).await;
    let request = Request::put(PRODUCT)
        .header("if-none-match", "\"x\"")
        .header("if-none-match", "*")
        .header("if-match", "\"6-00000000\"")
        .header("if-match", "\"7-00000000\"")
        .header("idempotency-key", "k1")
        .header("idempotency-key", "k2");
    let answer = world.ask(request.body(Body::empty()).unwrap()).await;
    let seen = String::from_utf8(answer.body).unwrap();
    let expected = [
        "idempotency-key: k1",
        "idempotency-key: k2",
        "if-match: \"6-00000000\"",
        "if-match: \"7-00000000\"",
        "if-none-match: \"x\"",
        "if-none-match: *",
    ];
    for line in expected {
        assert!(seen.lines().any(|one| one == line), "{line} is not among {seen}");
    }
}

#[tokio::test]
async fn what_the_road_cannot_carry_is_refused_before_the_owner_is_asked() {
    let world = World::start(Some(Router::new().fallback(any(echo))), None).await;
    let question = |path: &str, header: &'static str, bytes: usize| {
        let request = Request::get(path).header(header, "x".repeat(bytes));
        request.body(Body::empty()).unwrap()
    };
    let fits = format!("{PRODUCT}?q={}", "x".repeat(8192 - PRODUCT.len() - 3));
    assert_eq!(world.get(&fits).await.status, StatusCode::CREATED);
    let (status, code, _) = world.get(&format!("{fits}x")).await.problem();
    assert_eq!((status, code.as_str()), (414, "address-too-long"));

    let fits = question(PRODUCT, "if-match", 8192 - "if-match".len());
    assert_eq!(world.ask(fits).await.status, StatusCode::CREATED);
    let over = question(PRODUCT, "if-match", 8193 - "if-match".len());
    let (status, code, detail) = world.ask(over).await.problem();
    assert_eq!((status, code.as_str()), (431, "headers-too-large"));
    assert!(detail.contains("if-match"), "{detail}");
    let other = world.ask(question(PRODUCT, "x-other", 100_000)).await;
    assert_eq!(other.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_overlong_tracestate_stays_behind_and_nothing_else_suffers() {
    let world = in_front_of(any(echo)).await;
    let ask = async |bytes: usize| {
        let request = Request::get(PRODUCT).header("tracestate", "x".repeat(bytes));
        let answer = world.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        String::from_utf8(answer.body).unwrap().contains("tracestate")
    };
    assert!(ask(256).await);
    assert!(!ask(10_000).await);
}

#[tokio::test]
async fn every_route_asks_its_owner() {
    let catalog = Router::new().fallback(async || own("catalog"));
    let search = Router::new().fallback(async |request: Request| own(request.uri().to_string()));
    let world = World::start(Some(catalog), Some(search)).await;
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        for path in ["/api/v1/products/a", "/api/v1/categories/gear"] {
            let request = Request::builder().method(method).uri(path);
            let answer = world.ask(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::OK, "{method} {path}");
            let expected: &[u8] = if method == "HEAD" { b"" } else { b"catalog" };
            assert_eq!(answer.body, expected);
        }
    }
    for (owner, method, path) in [
        ("pricing", "PUT", "/api/v1/prices/a"),
        ("pricing", "DELETE", "/api/v1/promotions/summer"),
        ("warehouse", "GET", "/api/v1/locations/s-1"),
        ("warehouse", "GET", "/api/v1/stock/a"),
        ("warehouse", "PUT", "/api/v1/stock/a/s-1"),
        ("warehouse", "POST", "/api/v1/stock/a/s-1/adjustments"),
        ("warehouse", "POST", "/api/v1/reservations"),
        ("warehouse", "GET", "/api/v1/reservations/1"),
        ("warehouse", "DELETE", "/api/v1/reservations/1"),
        ("warehouse", "POST", "/api/v1/reservations/1/fulfilment"),
        ("pricing", "POST", "/api/v1/prices/import"),
        ("pricing", "POST", "/api/v1/promotions/import"),
        ("warehouse", "POST", "/api/v1/stock/import"),
        ("warehouse", "POST", "/api/v1/locations/import"),
        ("catalog", "POST", "/api/v1/products/import"),
        ("catalog", "POST", "/api/v1/categories/import"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let answer = world.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.body, owner.as_bytes(), "{method} {path}");
    }
    let found = world.get("/api/v1/search?q=hoodie&category=a%2Fb&sort=-name").await;
    assert_eq!(found.body, b"/api/v1/search?q=hoodie&category=a%2Fb&sort=-name");
    for (method, path, status) in [
        ("POST", "/api/v1/products/a", 405),
        ("PUT", "/api/v1/search", 405),
        ("GET", "/api/v1/products", 404),
        ("GET", "/api/v1/products/a/b", 404),
        ("GET", "/sources/catalog/sync", 404),
    ] {
        let request = Request::builder().method(method).uri(path);
        let answer = world.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_key_that_could_lead_elsewhere_is_refused_here() {
    let world = in_front_of(any(async || own("reached"))).await;
    let overlong = "x".repeat(65);
    for key in
        ["..%2F..%2F..%2Fmetrics", "%2e%2e", "%2e", "a%2Fb", "a%3Fb", "a%00b", "ä", &overlong]
    {
        let uri = format!("/api/v1/products/{}", key.replace('ä', "%C3%A4"));
        let answer = world.get(&uri).await;
        let (status, code, _) = answer.problem();
        assert_eq!((status, code.as_str()), (422, "invalid"), "{key}");
        assert_eq!(answer.json()["errors"][0]["pointer"], "/sku");
    }
    assert_eq!(world.get("/api/v1/products/MH01%2DXS").await.status, StatusCode::OK);
    let dots = world.get("/api/v1/products/%2e%2e").await.json();
    let reason = dots["errors"][0]["message"].as_str().unwrap();
    assert!(reason.starts_with("may not be '.' or '..'"), "{reason}");
    let overlong = world.get(&format!("/api/v1/products/{overlong}")).await.json();
    assert_eq!(overlong["errors"][0]["message"], "must have 1 to 64 characters, not 65");
    let second = world.get("/api/v1/stock/a/%2e%2e").await.json();
    assert_eq!(second["errors"][0]["pointer"], "/location");
    let category = world.get("/api/v1/categories/a%2Fb").await;
    assert_eq!(category.json()["errors"][0]["pointer"], "/id");
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_without_asking_the_owner() {
    let world = in_front_of(any(async |body: Bytes| own(body.len().to_string()))).await;
    let fits = world.ask(put("x".repeat(BODY_BYTES_MAX))).await;
    assert_eq!(fits.body, BODY_BYTES_MAX.to_string().as_bytes());
    let announced = world.ask(put("x".repeat(BODY_BYTES_MAX + 1))).await;
    assert_eq!(announced.problem().0, 413);

    // Never ends: the answer must not wait for it.
    let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 64 * 1024]));
    let endless = Body::from_stream(stream::repeat_with(chunk));
    let (status, code, detail) = world.ask(put(endless)).await.problem();
    assert_eq!((status, code.as_str()), (413, "body-too-large"));
    assert_eq!(detail, "at most 1048576 bytes are accepted");
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_before_the_owner_is_asked() {
    let world = World::limited(&["--http-body-pause-ms-max", "20"]);
    let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, code, _) = world.ask(put(stalled)).await.problem();
    assert_eq!((status, code.as_str()), (408, "body-too-slow"));
}

#[tokio::test]
async fn an_owners_refusal_passes_unchanged() {
    let problem = r#"{"type":"/problems/precondition-failed","status":412}"#;
    let refuse = move || async move {
        let media = [("content-type", "application/problem+json")];
        own((StatusCode::PRECONDITION_FAILED, media, problem))
    };
    let answer = in_front_of(any(refuse)).await.ask(put("{}")).await;
    assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(answer.body, problem.as_bytes());

    let broken = any(async || own((StatusCode::INTERNAL_SERVER_ERROR, "own words")));
    let answer = in_front_of(broken).await.get(PRODUCT).await;
    assert_eq!(
        (answer.status, &answer.body[..]),
        (StatusCode::INTERNAL_SERVER_ERROR, &b"own words"[..])
    );
}

fn assert_away(answer: &Answer) {
    let (status, code, detail) = answer.problem();
    assert_eq!((status, code.as_str()), (503, "owner-away"));
    assert_eq!(detail, "catalog cannot be reached; try again in a moment");
    assert!(!String::from_utf8_lossy(&answer.body).contains("ERR_"));
}

#[tokio::test]
async fn a_sidecars_own_error_becomes_a_503_that_names_the_owner() {
    for (status, body) in [
        (500, r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: catalog"}"#),
        (403, r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"access denied"}"#),
        (404, r#"{"errorCode":"ERR_DIRECT_INVOKE_NO_APP_ID"}"#),
        (401, "invalid api token"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let sidecar = move || async move { (status, [("content-type", "application/json")], body) };
        assert_away(&in_front_of(any(sidecar)).await.get(PRODUCT).await);
    }
}

#[tokio::test]
async fn an_owner_that_does_not_listen_is_away() {
    let world = World::start(None, None).await;
    assert_away(&world.get(PRODUCT).await);
    let (status, _, detail) = world.get("/api/v1/search?q=a").await.problem();
    assert_eq!(status, 503);
    assert!(detail.starts_with("search-indexer"), "{detail}");
}

#[tokio::test]
async fn an_owner_that_is_late_is_named() {
    let silent = get(async || std::future::pending::<Response>().await);
    // The head of the answer comes in time, its body never ends.
    let slow = any(async || {
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
        let rest = stream::pending();
        own(Body::from_stream(futures::StreamExt::chain(first, rest)))
    });
    for owner in [silent, slow] {
        let world = in_front_of(owner).await;
        let limit = Duration::from_secs(5);
        let answer = tokio::time::timeout(limit, world.get(PRODUCT)).await.unwrap();
        let (status, code, detail) = answer.problem();
        assert_eq!((status, code.as_str()), (504, "owner-timeout"));
        assert!(detail.starts_with("catalog did not answer within 300 ms"), "{detail}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_never_stops_is_no_answer() {
    let broken = any(async || {
        let first = stream::iter([Ok(Bytes::from_static(b"{"))]);
        let fault = stream::iter([Err(std::io::Error::other("gone"))]);
        own(Body::from_stream(futures::StreamExt::chain(first, fault)))
    });
    let huge = any(async || own(vec![b'x'; 4 * 1024 * 1024 + 1]));
    for owner in [broken, huge] {
        let (status, code, detail) = in_front_of(owner).await.get(PRODUCT).await.problem();
        assert_eq!((status, code.as_str()), (502, "owner-answer"));
        assert!(detail.starts_with("the answer of catalog"), "{detail}");
    }
}
