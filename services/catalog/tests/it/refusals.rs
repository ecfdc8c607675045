//! Bad input: a clear problem with field and reason, never 500, nothing stored.

use crate::world::World;

const PATH: &str = "/api/v1/products/a";

/// Body of a product, and what must be answered: status, code, pointer, code of the field.
const BODIES: &[(&str, u16, &str, &str, &str)] = &[
    ("{", 400, "broken-json", "", "broken-json"),
    ("{\"name\":\"a\",}", 400, "broken-json", "", "broken-json"),
    ("nul", 400, "broken-json", "", "broken-json"),
    ("[]", 422, "invalid", "", "invalid-value"),
    ("\"a\"", 422, "invalid", "", "wrong-type"),
    (r#"{"name":"a"}"#, 422, "invalid", "/categories", "missing-field"),
    (
        r#"{"name":"a","categories":[],"attributes":{},"colour":1}"#,
        422,
        "invalid",
        "/colour",
        "unknown-field",
    ),
    (
        r#"{"name":"a","name":"b","categories":[],"attributes":{}}"#,
        422,
        "invalid",
        "/name",
        "duplicate-field",
    ),
    (r#"{"name":1,"categories":[],"attributes":{}}"#, 422, "invalid", "/name", "wrong-type"),
    (r#"{"name":"","categories":[],"attributes":{}}"#, 422, "invalid", "/name", "length"),
    (
        r#"{"name":"a\u0000","categories":[],"attributes":{}}"#,
        422,
        "invalid",
        "/name",
        "illegal-character",
    ),
    (
        r#"{"name":"a","categories":["x","a b"],"attributes":{}}"#,
        422,
        "invalid",
        "/categories/1",
        "illegal-character",
    ),
    (
        r#"{"name":"a","categories":["x","x"],"attributes":{}}"#,
        422,
        "invalid",
        "/categories/1",
        "duplicate",
    ),
    (
        r#"{"name":"a","categories":[7],"attributes":{}}"#,
        422,
        "invalid",
        "/categories/0",
        "wrong-type",
    ),
    (
        r#"{"name":"a","categories":[],"attributes":[]}"#,
        422,
        "invalid",
        "/attributes",
        "wrong-type",
    ),
    (
        r#"{"name":"a","categories":[],"attributes":{"n":{"deep":1}}}"#,
        422,
        "invalid",
        "/attributes/n",
        "wrong-type",
    ),
    (
        r#"{"name":"a","categories":[],"attributes":{"n":null}}"#,
        422,
        "invalid",
        "/attributes/n",
        "wrong-type",
    ),
    (
        r#"{"name":"a","categories":[],"attributes":{"n":1,"n":2}}"#,
        422,
        "invalid",
        "/attributes/n",
        "duplicate-field",
    ),
    (
        r#"{"name":"a","categories":[],"attributes":{"a b":1}}"#,
        422,
        "invalid",
        "/attributes/a b",
        "illegal-character",
    ),
    (
        r#"{"name":"a","categories":[],"attributes":{"n":"\ud800"}}"#,
        422,
        "invalid",
        "/attributes/n",
        "illegal-character",
    ),
    (
        r#"{"name":"a","categories":[],"attributes":{"n":1e400}}"#,
        422,
        "invalid",
        "/attributes/n",
        "number-out-of-range",
    ),
    (
        r#"{"name":"a","categories":[],"attributes":{"n":9007199254740993}}"#,
        422,
        "invalid",
        "/attributes/n",
        "number-out-of-range",
    ),
    (
        r#"{"name":"a","categories":[],"attributes":{"n":-1e300}}"#,
        422,
        "invalid",
        "/attributes/n",
        "number-out-of-range",
    ),
    (
        r#"{"name":"a","categories":[],"attributes":{"n":1e-400,"m":4503599627370497.3}}"#,
        422,
        "invalid",
        "/attributes/m",
        "number-precision",
    ),
    (
        r#"{"name":"a","categories":[".."],"attributes":{}}"#,
        422,
        "invalid",
        "/categories/0",
        "reserved",
    ),
    (r#"{"name":1e400,"categories":[],"attributes":{}}"#, 422, "invalid", "/name", "invalid-value"),
];

#[tokio::test]
async fn a_bad_body_is_refused_with_field_and_reason_and_leaves_nothing() -> anyhow::Result<()> {
    let world = World::create().await?;
    for (body, status, code, pointer, field_code) in BODIES {
        let answer = world.put(PATH, body).await;
        assert_eq!(answer.problem(), (*status, (*code).to_owned()), "{body}");
        assert_eq!(answer.field(), ((*pointer).to_owned(), (*field_code).to_owned()), "{body}");
    }
    assert_eq!(world.stored().await?, [0; 5]);
    Ok(())
}

#[tokio::test]
async fn every_broken_rule_of_a_body_is_named() -> anyhow::Result<()> {
    let world = World::create().await?;
    let body = r#"{"name":"","categories":["a b"],"attributes":{"n":1e400,"t":null}}"#;
    let problem: contracts::Problem = serde_json::from_slice(&world.put(PATH, body).await.body)?;
    let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["/attributes/n", "/attributes/t", "/categories/0", "/name"]);
    Ok(())
}

#[tokio::test]
async fn an_illegal_or_overlong_name_in_the_path_is_refused() -> anyhow::Result<()> {
    let world = World::create().await?;
    let body = r#"{"name":"a","categories":[],"attributes":{}}"#;
    let long = "x".repeat(65);
    for (sku, code) in [
        (long.as_str(), "length"),
        ("a%20b", "illegal-character"),
        ("a%2Fb", "illegal-character"),
        ("a%00", "illegal-character"),
        ("gr%C3%B6%C3%9Fe", "illegal-character"),
        (".", "reserved"),
        ("%2E%2e", "reserved"),
    ] {
        let path = format!("/api/v1/products/{sku}");
        for (method, body) in [("PUT", body), ("GET", ""), ("DELETE", "")] {
            let answer = world.send(method, &path, &[], body).await;
            assert_eq!(answer.problem(), (422, "invalid".to_owned()), "{method} {sku}");
            assert_eq!(answer.field(), ("/sku".to_owned(), code.to_owned()), "{method} {sku}");
        }
    }
    let category = format!("/api/v1/categories/{long}");
    let answer = world.put(&category, r#"{"name":"a","parent":null}"#).await;
    assert_eq!(answer.field(), ("/id".to_owned(), "length".to_owned()));
    let broken = world.put("/api/v1/products/%ff", body).await;
    assert_eq!(broken.problem().0, 400);
    assert_eq!(world.stored().await?, [0; 5]);
    Ok(())
}

#[tokio::test]
async fn a_category_below_itself_is_refused() -> anyhow::Result<()> {
    let world = World::create().await?;
    let answer = world.put("/api/v1/categories/a", r#"{"name":"A","parent":"a"}"#).await;
    assert_eq!(answer.problem().0, 422);
    assert_eq!(answer.field(), ("/parent".to_owned(), "own-parent".to_owned()));
    let answer = world.put("/api/v1/categories/a", r#"{"name":"A","parent":"b c"}"#).await;
    assert_eq!(answer.field(), ("/parent".to_owned(), "illegal-character".to_owned()));
    assert_eq!(world.stored().await?, [0; 5]);
    Ok(())
}

#[tokio::test]
async fn a_body_over_the_limit_or_of_another_type_is_refused() -> anyhow::Result<()> {
    let world = World::create().await?;
    let large = format!("{{\"name\":\"{}\"}}", "a".repeat(1 << 20));
    let answer = world.put(PATH, &large).await;
    assert_eq!(answer.problem(), (413, "body-too-large".to_owned()));
    let body = r#"{"name":"a","categories":[],"attributes":{}}"#;
    let answer = world.send("PUT", PATH, &[("content-type", "text/plain")], body).await;
    assert_eq!(answer.problem(), (415, "unsupported-media-type".to_owned()));
    assert_eq!(world.stored().await?, [0; 5]);
    Ok(())
}

#[tokio::test]
async fn many_categories_and_attributes_are_bounded() -> anyhow::Result<()> {
    let world = World::create().await?;
    let many: Vec<_> = (0..65).map(|n| format!("\"c{n}\"")).collect();
    let body = format!(r#"{{"name":"a","categories":[{}],"attributes":{{}}}}"#, many.join(","));
    let answer = world.put(PATH, &body).await;
    assert_eq!(answer.field(), ("/categories".to_owned(), "count".to_owned()));
    let many: Vec<_> = (0..201).map(|n| format!("\"a{n}\":{n}")).collect();
    let body = format!(r#"{{"name":"a","categories":[],"attributes":{{{}}}}}"#, many.join(","));
    let answer = world.put(PATH, &body).await;
    assert_eq!(answer.field(), ("/attributes".to_owned(), "count".to_owned()));
    assert_eq!(world.stored().await?, [0; 5]);
    Ok(())
}

#[tokio::test]
async fn a_method_or_a_route_that_is_not_there_is_told() -> anyhow::Result<()> {
    let world = World::create().await?;
    let answer = world.send("PATCH", PATH, &[], "{}").await;
    assert_eq!(answer.problem(), (405, "method-not-allowed".to_owned()));
    let allowed = answer.headers["allow"].to_str()?;
    assert!(allowed.contains("PUT") && allowed.contains("DELETE"), "{allowed}");
    assert_eq!(world.get("/api/v1/things/a").await.problem(), (404, "not-found".to_owned()));
    Ok(())
}
