//! Every answer that a test is given is one that the OpenAPI document describes.

use std::sync::LazyLock;

use serde_json::{Value, json};
use service_kit::Program as _;
use warehouse::Warehouse;

use crate::world::{Answer, World};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let document = Warehouse::openapi().expect("warehouse has a document");
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
    let given: Vec<_> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<_> = template.split('/').collect();
        let same = template.iter().zip(&given).all(|(t, g)| t.starts_with('{') || t == g);
        same && template.len() == given.len()
    };
    let paths = DOCUMENT["paths"].as_object()?;
    let exact = paths.get(path);
    let item = exact.or_else(|| paths.iter().find(|(t, _)| fits(t)).map(|(_, item)| item));
    item?.get(method.to_ascii_lowercase())
}

/// The other tests meet the rest; without these this module would be worth nothing.
#[tokio::test]
async fn routes_are_found_in_the_document() -> anyhow::Result<()> {
    for (method, path) in [
        ("GET", "/api/v1/stock/a"),
        ("PUT", "/api/v1/stock/a/s"),
        ("POST", "/api/v1/stock/a/s/adjustments"),
        ("POST", "/api/v1/reservations/x/fulfilment"),
        ("DELETE", "/api/v1/reservations/x"),
        ("DELETE", "/api/v1/locations/s"),
    ] {
        assert!(operation(method, path).is_some(), "{method} {path}");
    }
    let world = World::create().await?;
    assert_eq!(world.get("/api/v1/stock/a").await.problem().0, 404);
    let problem = DOCUMENT["components"]["schemas"]["Problem"].clone();
    let required = json!(["type", "title", "status", "code"]);
    assert_eq!(problem["required"], required, "what every problem has");
    Ok(())
}
