//! Bad input: a clear problem with field and reason, never 500, nothing stored.

use serde_json::{Value, json};

use crate::world::World;

const PRICE: &str = "/api/v1/prices/a";
const PROMOTION: &str = "/api/v1/promotions/summer";

/// Body of a price, and what must be answered: status, code, pointer, code of the field.
const PRICES: &[(&str, u16, &str, &str, &str)] = &[
    ("{", 400, "broken-json", "", "broken-json"),
    ("[]", 422, "invalid", "", "invalid-value"),
    ("7", 422, "invalid", "", "wrong-type"),
    (r#"{"amount":"1"}"#, 422, "invalid", "/currency", "missing-field"),
    (r#"{"currency":"USD"}"#, 422, "invalid", "/amount", "missing-field"),
    (r#"{"currency":"USD","amount":59.00}"#, 422, "invalid", "/amount", "wrong-type"),
    (r#"{"currency":"USD","amount":null}"#, 422, "invalid", "/amount", "wrong-type"),
    (r#"{"currency":840,"amount":"1"}"#, 422, "invalid", "/currency", "wrong-type"),
    (r#"{"currency":"USD","amount":"-1.00"}"#, 422, "invalid", "/amount", "negative"),
    (r#"{"currency":"USD","amount":"59.001"}"#, 422, "invalid", "/amount", "precision"),
    (r#"{"currency":"JPY","amount":"59.0"}"#, 422, "invalid", "/amount", "precision"),
    (r#"{"currency":"USD","amount":"1e3"}"#, 422, "invalid", "/amount", "malformed"),
    (r#"{"currency":"USD","amount":"1000000000000"}"#, 422, "invalid", "/amount", "out-of-range"),
    (r#"{"currency":"USX","amount":"1"}"#, 422, "invalid", "/currency", "unknown-currency"),
    (r#"{"currency":"usd","amount":"1"}"#, 422, "invalid", "/currency", "unknown-currency"),
    (
        r#"{"currency":"USD","amount":"1","effective":"1"}"#,
        422,
        "invalid",
        "/effective",
        "unknown-field",
    ),
    (
        r#"{"currency":"USD","amount":"1","amount":"2"}"#,
        422,
        "invalid",
        "/amount",
        "duplicate-field",
    ),
    (r#"{"sku":"b","currency":"USD","amount":"1"}"#, 422, "invalid", "/sku", "not-as-in-path"),
    (r#"{"sku":"a b","currency":"USD","amount":"1"}"#, 422, "invalid", "/sku", "illegal-character"),
];

#[tokio::test]
async fn a_bad_price_is_refused_with_field_and_reason_and_leaves_nothing() -> anyhow::Result<()> {
    let world = World::create().await?;
    for (body, status, code, pointer, field_code) in PRICES {
        let answer = world.put(PRICE, body).await;
        assert_eq!(answer.problem(), (*status, (*code).to_owned()), "{body}");
        let first = answer.fields().into_iter().next().unwrap();
        assert_eq!(first, ((*pointer).to_owned(), (*field_code).to_owned()), "{body}");
    }
    assert_eq!(world.stored().await?, [0; 4]);
    Ok(())
}

fn period(starts_at: &str, ends_at: &str) -> Value {
    json!({"starts_at": format!("2026-01-{starts_at}T00:00:00Z"),
        "ends_at": format!("2026-01-{ends_at}T00:00:00Z")})
}

#[tokio::test]
async fn a_bad_promotion_is_refused_with_field_and_reason_and_leaves_nothing() -> anyhow::Result<()>
{
    let world = World::create().await?;
    let sound = json!({"skus": ["a"], "percent_off": "20", "periods": [period("01", "02")]});
    let many = |count: usize| Value::from_iter((0..count).map(|n| format!("sku-{n}")));
    let periods = |count: usize| Value::from_iter((0..count).map(|_| period("01", "02")));
    let moment =
        |starts_at: &str| json!([{"starts_at": starts_at, "ends_at": "2027-01-01T00:00:00Z"}]);
    for (field, value, pointer, code) in [
        ("skus", json!([]), "/skus", "count"),
        ("skus", many(1_001), "/skus", "count"),
        ("skus", json!(["a", "b", "a"]), "/skus/2", "duplicate"),
        ("skus", json!(["a", "b c"]), "/skus/1", "illegal-character"),
        ("skus", json!(["a", 7]), "/skus/1", "wrong-type"),
        ("skus", json!("a"), "/skus", "wrong-type"),
        ("percent_off", json!(20), "/percent_off", "wrong-type"),
        ("percent_off", json!("0"), "/percent_off", "out-of-range"),
        ("percent_off", json!("100.5"), "/percent_off", "out-of-range"),
        ("percent_off", json!("-5"), "/percent_off", "negative"),
        ("percent_off", json!("5.001"), "/percent_off", "precision"),
        ("percent_off", json!("a fifth"), "/percent_off", "malformed"),
        ("periods", json!([]), "/periods", "count"),
        ("periods", periods(51), "/periods", "count"),
        ("periods", json!([period("02", "01")]), "/periods/0/ends_at", "ends-before-start"),
        ("periods", json!([period("02", "02")]), "/periods/0/ends_at", "ends-before-start"),
        ("periods", json!([period("01", "03"), period("02", "04")]), "/periods/1", "overlap"),
        ("periods", json!([period("05", "09"), period("01", "06")]), "/periods/0", "overlap"),
        ("periods", moment("2026-01-01"), "/periods/0/starts_at", "malformed"),
        ("periods", moment("2026-01-01T00:00:00"), "/periods/0/starts_at", "malformed"),
        ("periods", moment("1969-01-01T00:00:00Z"), "/periods/0/starts_at", "out-of-range"),
        ("periods", moment("2026-01-01T00:00:00.0000001Z"), "/periods/0/starts_at", "precision"),
        ("periods", json!([{"starts_at": "x"}]), "/periods/0/ends_at", "missing-field"),
        ("colour", json!("red"), "/colour", "unknown-field"),
        ("id", json!("winter"), "/id", "not-as-in-path"),
    ] {
        let mut bad = sound.clone();
        bad[field] = value;
        let answer = world.put(PROMOTION, &bad.to_string()).await;
        assert_eq!(answer.problem(), (422, "invalid".to_owned()), "{bad}");
        let fields = answer.fields();
        assert!(fields.contains(&(pointer.to_owned(), code.to_owned())), "{bad}: {fields:?}");
    }
    for field in ["skus", "percent_off", "periods"] {
        let mut bad = sound.clone();
        bad.as_object_mut().unwrap().remove(field);
        let answer = world.put(PROMOTION, &bad.to_string()).await;
        assert_eq!(answer.fields(), [(format!("/{field}"), "missing-field".to_owned())]);
    }
    assert_eq!(world.stored().await?, [0; 4]);
    assert_eq!(world.put(PROMOTION, &sound.to_string()).await.status, 201);
    Ok(())
}

#[tokio::test]
async fn every_broken_rule_of_a_body_is_named() -> anyhow::Result<()> {
    let world = World::create().await?;
    let body = json!({"skus": ["a b"], "percent_off": "0",
        "periods": [period("02", "01"), period("03", "04"), period("06", "05")]});
    let answer = world.put(PROMOTION, &body.to_string()).await;
    let pointers: Vec<_> = answer.fields().into_iter().map(|(pointer, _)| pointer).collect();
    let expected = ["/percent_off", "/periods/0/ends_at", "/periods/2/ends_at", "/skus/0"];
    assert_eq!(pointers, expected);
    Ok(())
}

#[tokio::test]
async fn a_bad_name_in_the_path_is_refused() -> anyhow::Result<()> {
    let world = World::create().await?;
    let price = r#"{"currency":"USD","amount":"1"}"#;
    for (name, code) in [("a%20b", "illegal-character"), ("%2E%2e", "reserved")] {
        for (collection, field) in [("prices", "/sku"), ("promotions", "/id")] {
            let path = format!("/api/v1/{collection}/{name}");
            for method in ["GET", "DELETE"] {
                let answer = world.send(method, &path, &[], "").await;
                assert_eq!(answer.problem(), (422, "invalid".to_owned()), "{method} {path}");
                assert_eq!(answer.fields(), [(field.to_owned(), code.to_owned())]);
            }
        }
        let path = format!("/api/v1/prices/{name}");
        assert_eq!(world.put(&path, price).await.problem().0, 422);
    }
    assert_eq!(world.stored().await?, [0; 4]);
    Ok(())
}
