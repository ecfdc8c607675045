//! Every answer that a test is given is one that the OpenAPI document describes.

use std::sync::LazyLock;

use axum::http::StatusCode;
use search_indexer::SearchIndexer;
use serde_json::Value;
use service_kit::Program as _;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let document = SearchIndexer::openapi().expect("search has a document");
    serde_json::from_str(&document).expect("the document is JSON")
});

/// Fails the test unless the document has this answer, with a body of this shape, for a `GET` of
/// this path; a route that is not there has none.
pub(crate) fn check(path: &str, (status, media_type): (StatusCode, &str), body: &Value) {
    let path = path.split('?').next().unwrap_or_default();
    let Some(route) = DOCUMENT["paths"].get(path) else { return };
    let described = &route["get"]["responses"][status.as_str()];
    let mut schema = described["content"][media_type]["schema"].clone();
    assert!(schema.is_object(), "{path}: {status} as {media_type} is not described");
    schema["components"] = DOCUMENT["components"].clone();
    let schema = jsonschema::validator_for(&schema).expect("a sound schema");
    let sound = schema.validate(body).map_err(|error| error.to_string());
    assert_eq!(sound, Ok(()), "{path}: {status}: {body}");
}

#[test]
fn the_document_on_the_wire() {
    insta::assert_json_snapshot!("openapi", *DOCUMENT);
}
