//! Every answer that a test is given is one that the OpenAPI document describes.

#![expect(clippy::indexing_slicing, reason = "a surprise fails the test")]

use std::sync::LazyLock;

use axum::http::StatusCode;
use catalog::Catalog;
use serde_json::{Value, json};
use service_kit::Program as _;

use crate::world::{Answer, World};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let document = Catalog::openapi().expect("catalog has a document");
    serde_json::from_str(&document).expect("the document is JSON")
});

/// Fails the test unless the document has this answer, with a body of this shape, for this request;
/// a method or route that is not there has none.
pub(crate) fn check(method: &str, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else { return };
    let status = answer.status.as_u16().to_string();
    let described = &operation["responses"][&status];
    assert!(described.is_object(), "{method} {path}: {status} is not described: {answer:?}");
    let media_type = answer.headers.get("content-type").and_then(|value| value.to_str().ok());
    let Some(content) = described.get("content") else {
        assert!(answer.body.is_empty(), "{method} {path}: {status} has a body: {answer:?}");
        return;
    };
    let media_type = media_type.expect("a body has a media type");
    let mut schema = content[media_type]["schema"].clone();
    assert!(schema.is_object(), "{method} {path}: {status} is no {media_type}");
    schema["components"] = DOCUMENT["components"].clone();
    let schema = jsonschema::validator_for(&schema).expect("a sound schema");
    let sound = schema.validate(&answer.json()).map_err(|error| error.to_string());
    assert_eq!(sound, Ok(()), "{method} {path}: {status}: {answer:?}");
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let (collection, _) = path.rsplit_once('/')?;
    let paths = DOCUMENT["paths"].as_object()?;
    let below = || {
        let mut items = paths.iter();
        items.find(|(template, _)| {
            template.rsplit_once("/{").is_some_and(|(own, _)| own == collection)
        })
    };
    let item = paths.get(path).or_else(|| below().map(|(_, item)| item))?;
    item.get(method.to_ascii_lowercase())
}

/// The other tests meet the rest; these must be met for this module to be worth anything.
#[tokio::test]
async fn refusals_of_each_kind_are_as_described() -> anyhow::Result<()> {
    let world = World::create().await?;
    let path = "/api/v1/products/a";
    let stale = [("if-match", "\"1-00000000\"")];
    let body = r#"{"name":"","categories":[],"attributes":{}}"#;
    for (answer, status) in [
        (world.get(path).await, StatusCode::NOT_FOUND),
        (world.send("DELETE", path, &stale, "").await, StatusCode::NOT_FOUND),
        (world.put(path, body).await, StatusCode::UNPROCESSABLE_ENTITY),
        (world.put(path, &body.replace("\"\"", "\"a\"")).await, StatusCode::CREATED),
        (world.send("GET", path, &stale, "").await, StatusCode::PRECONDITION_FAILED),
        (world.send("DELETE", path, &stale, "").await, StatusCode::PRECONDITION_FAILED),
        (world.send("PUT", path, &stale, body).await, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(answer.status, status);
    }
    let problem = DOCUMENT["components"]["schemas"]["Problem"].clone();
    let required = json!(["type", "title", "status", "code"]);
    assert_eq!(problem["required"], required, "what every problem has");
    Ok(())
}
