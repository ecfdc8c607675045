//! Every answer that a test is given is one that the OpenAPI document describes.

use std::sync::LazyLock;

use pricing::Pricing;
use serde_json::Value;
use service_kit::Program as _;

use crate::world::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let document = Pricing::openapi().expect("pricing has a document");
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

/// A path that is written out goes before one with a name in its place.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object()?;
    let (collection, _) = path.rsplit_once('/')?;
    let item = paths.get(path).or_else(|| {
        let named = paths.iter().find(|(template, _)| {
            template.ends_with('}')
                && template.rsplit_once('/').is_some_and(|(own, _)| own == collection)
        });
        named.map(|(_, item)| item)
    })?;
    item.get(method.to_ascii_lowercase())
}
