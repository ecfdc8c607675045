//! Bad input: a clear problem with field and reason, never 500, nothing stored.

use crate::world::{RESERVATIONS, STOCK, World};

const ADJUSTMENTS: &str = "/api/v1/stock/a/s/adjustments";
const LOCATION: &str = "/api/v1/locations/s";

/// Method, path, body, and what must be answered: status, code, pointer, code of the field.
type Case =
    (&'static str, &'static str, &'static str, u16, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    ("PUT", STOCK, "{", 400, "broken-json", "", "broken-json"),
    ("PUT", STOCK, "{}", 422, "invalid", "/on_hand", "missing-field"),
    ("PUT", STOCK, r#"{"on_hand":-1}"#, 422, "invalid", "/on_hand", "out-of-range"),
    ("PUT", STOCK, r#"{"on_hand":2147483649}"#, 422, "invalid", "/on_hand", "out-of-range"),
    ("PUT", STOCK, r#"{"on_hand":1.5}"#, 422, "invalid", "/on_hand", "wrong-type"),
    ("PUT", STOCK, r#"{"on_hand":"1"}"#, 422, "invalid", "/on_hand", "wrong-type"),
    ("PUT", STOCK, r#"{"on_hand":null}"#, 422, "invalid", "/on_hand", "wrong-type"),
    ("PUT", STOCK, r#"{"on_hand":1,"reserved":0}"#, 422, "invalid", "/reserved", "unknown-field"),
    ("PUT", STOCK, r#"{"on_hand":1,"on_hand":2}"#, 422, "invalid", "/on_hand", "duplicate-field"),
    ("PUT", STOCK, r#"{"on_hand":1,"sku":"b"}"#, 422, "invalid", "/sku", "not-as-in-path"),
    (
        "PUT",
        STOCK,
        r#"{"on_hand":1,"location":"t"}"#,
        422,
        "invalid",
        "/location",
        "not-as-in-path",
    ),
    ("POST", ADJUSTMENTS, r#"{"delta":0}"#, 422, "invalid", "/delta", "zero"),
    ("POST", ADJUSTMENTS, r#"{"delta":0.5}"#, 422, "invalid", "/delta", "wrong-type"),
    ("POST", ADJUSTMENTS, r#"{"delta":-2147483649}"#, 422, "invalid", "/delta", "out-of-range"),
    ("POST", ADJUSTMENTS, r#"{"delta":1,"reason":""}"#, 422, "invalid", "/reason", "length"),
    ("POST", ADJUSTMENTS, r#"{"delta":1,"why":"x"}"#, 422, "invalid", "/why", "unknown-field"),
    (
        "POST",
        ADJUSTMENTS,
        r#"{"delta":-1}"#,
        409,
        "insufficient-stock",
        "/delta",
        "insufficient-stock",
    ),
    (
        "POST",
        RESERVATIONS,
        r#"{"sku":"a","location":"s","quantity":0,"expires_in_seconds":1}"#,
        422,
        "invalid",
        "/quantity",
        "out-of-range",
    ),
    (
        "POST",
        RESERVATIONS,
        r#"{"sku":"a","location":"s","quantity":1.5,"expires_in_seconds":1}"#,
        422,
        "invalid",
        "/quantity",
        "wrong-type",
    ),
    (
        "POST",
        RESERVATIONS,
        r#"{"sku":"a","location":"s","quantity":1,"expires_in_seconds":0}"#,
        422,
        "invalid",
        "/expires_in_seconds",
        "out-of-range",
    ),
    (
        "POST",
        RESERVATIONS,
        r#"{"sku":"a","location":"s","quantity":1,"expires_in_seconds":604801}"#,
        422,
        "invalid",
        "/expires_in_seconds",
        "out-of-range",
    ),
    (
        "POST",
        RESERVATIONS,
        r#"{"sku":"a b","location":"s","quantity":1,"expires_in_seconds":1}"#,
        422,
        "invalid",
        "/sku",
        "illegal-character",
    ),
    (
        "POST",
        RESERVATIONS,
        r#"{"sku":"a","quantity":1,"expires_in_seconds":1}"#,
        422,
        "invalid",
        "/location",
        "missing-field",
    ),
    (
        "POST",
        RESERVATIONS,
        r#"{"sku":"a","location":"s","quantity":1,"expires_in_seconds":1}"#,
        409,
        "insufficient-stock",
        "/quantity",
        "insufficient-stock",
    ),
    ("PUT", LOCATION, r#"{"name":""}"#, 422, "invalid", "/name", "length"),
    ("PUT", LOCATION, r#"{"city":"a\u0000"}"#, 422, "invalid", "/city", "illegal-character"),
    ("PUT", LOCATION, r#"{"id":"t"}"#, 422, "invalid", "/id", "not-as-in-path"),
    ("PUT", LOCATION, r#"{"street":"x"}"#, 422, "invalid", "/street", "unknown-field"),
    ("PUT", LOCATION, r#"{"region":7}"#, 422, "invalid", "/region", "wrong-type"),
];

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_field_and_reason() -> anyhow::Result<()> {
    let world = World::create().await?;
    for (method, path, body, status, code, pointer, rule) in CASES {
        let answer = world.send(method, path, &[], body).await;
        assert_eq!(answer.problem(), (*status, (*code).to_owned()), "{path} {body}");
        assert_eq!(answer.field(), ((*pointer).to_owned(), (*rule).to_owned()), "{path} {body}");
    }
    assert_eq!(world.stored().await?, [0; 6]);
    Ok(())
}

#[tokio::test]
async fn names_that_are_too_long_are_refused() -> anyhow::Result<()> {
    let world = World::create().await?;
    let long = "x".repeat(65);
    let (stock, text) = (r#"{"on_hand":1}"#, "y".repeat(513));
    for (path, body, pointer) in [
        (format!("/api/v1/stock/{long}/s"), stock.to_owned(), "/sku"),
        (format!("/api/v1/stock/a/{long}"), stock.to_owned(), "/location"),
        (format!("/api/v1/locations/{long}"), "{}".to_owned(), "/id"),
        (LOCATION.to_owned(), format!("{{\"name\":\"{text}\"}}"), "/name"),
    ] {
        let answer = world.put(&path, &body).await;
        assert_eq!(answer.problem(), (422, "invalid".to_owned()), "{path}");
        assert_eq!(answer.field(), (pointer.to_owned(), "length".to_owned()), "{path}");
    }
    assert_eq!(world.stored().await?, [0; 6]);
    Ok(())
}

#[tokio::test]
async fn what_stock_does_not_allow_is_refused_with_what_is_available() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(5).await;
    world.reserve(2, 60).await;
    let before = world.stored().await?;
    let sold = world.post(ADJUSTMENTS, r#"{"delta":-4}"#).await;
    assert_eq!(sold.problem(), (409, "insufficient-stock".to_owned()));
    assert_eq!(sold.field(), ("/delta".to_owned(), "insufficient-stock".to_owned()));
    let reserved = world.reserve(4, 60).await;
    for answer in [&sold, &reserved] {
        let detail = answer.json()["detail"].as_str().unwrap_or("").to_owned();
        assert!(detail.contains("3 are available"), "{detail}");
    }
    let flooded = world.post(ADJUSTMENTS, r#"{"delta":2147483648}"#).await;
    assert_eq!(flooded.problem(), (409, "too-much-stock".to_owned()));
    assert_eq!(world.stored().await?, before);
    assert_eq!(world.level().await, (5, 2, 3));
    world.assert_sound().await
}

#[tokio::test]
async fn the_table_is_the_last_fence() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(5).await;
    let client = world.database.connect().await?;
    for wrong in [
        "update warehouse.stock set reserved = 6",
        "update warehouse.stock set on_hand = -1",
        "update warehouse.stock set reserved = -1",
        "update warehouse.stock set on_hand = 2147483649",
        "delete from warehouse.location",
    ] {
        let refused = client.execute(wrong, &[]).await.expect_err(wrong);
        assert!(refused.code().is_some_and(|state| state.code().starts_with("23")), "{refused}");
    }
    Ok(())
}

#[tokio::test]
async fn a_method_or_a_route_that_is_not_there_is_told() -> anyhow::Result<()> {
    let world = World::create().await?;
    let answer = world.send("PATCH", STOCK, &[], "{}").await;
    assert_eq!(answer.problem(), (405, "method-not-allowed".to_owned()));
    assert_eq!(world.get("/api/v1/things/a").await.problem(), (404, "not-found".to_owned()));
    Ok(())
}
