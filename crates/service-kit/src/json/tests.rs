//! What each kind of bad body is answered with.

use std::time::Duration;

use axum::body::Bytes;
use serde::Deserialize;

use super::*;
use crate::body::BodyLimits;

#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Shelf {
    #[validate(length(min = 1))]
    label: String,
    #[serde(default)]
    boxes: Vec<Carton>,
}

#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Carton {
    #[expect(dead_code, reason = "only its type matters here")]
    litres: u32,
}

fn refusal(body: &str) -> (u16, String, String) {
    let problem = parse::<Shelf>(body.as_bytes()).unwrap_err();
    let field = &problem.body().errors[0];
    (problem.body().status, field.pointer.clone(), field.code.clone())
}

fn expect(status: u16, pointer: &str, code: &str) -> (u16, String, String) {
    (status, pointer.to_owned(), code.to_owned())
}

#[test]
fn a_bad_body_is_refused_with_field_and_reason() {
    assert_eq!(refusal("{"), expect(400, "", "broken-json"));
    assert_eq!(refusal(""), expect(400, "", "broken-json"));
    assert_eq!(refusal("{\"label\":\"a\"} x"), expect(400, "", "broken-json"));
    assert_eq!(refusal("{\"label\":\"\\ud800\"}"), expect(400, "", "broken-json"));
    assert_eq!(refusal("[1]").0, 422);
    assert_eq!(refusal("{}"), expect(422, "/label", "missing-field"));
    assert_eq!(refusal("{\"label\":1}"), expect(422, "/label", "wrong-type"));
    assert_eq!(refusal("{\"label\":\"a\",\"colour\":1}"), expect(422, "/colour", "unknown-field"));
    let twice = "{\"label\":\"a\",\"label\":\"b\"}";
    assert_eq!(refusal(twice), expect(422, "/label", "duplicate-field"));
    let nested = "{\"label\":\"a\",\"boxes\":[{\"litres\":1},{\"litres\":1,\"a/b\":2}]}";
    assert_eq!(refusal(nested), expect(422, "/boxes/1/a~1b", "unknown-field"));
    let missing = "{\"label\":\"a\",\"boxes\":[{}]}";
    assert_eq!(refusal(missing), expect(422, "/boxes/0/litres", "missing-field"));
    let negative = "{\"label\":\"a\",\"boxes\":[{\"litres\":-1}]}";
    assert_eq!(refusal(negative), expect(422, "/boxes/0/litres", "invalid-value"));
}

fn request(body: impl Into<axum::body::Body>, media_type: Option<&str>) -> Request {
    let mut request = Request::new(body.into());
    if let Some(media_type) = media_type {
        request.headers_mut().insert(header::CONTENT_TYPE, media_type.parse().unwrap());
    }
    request.extensions_mut().insert(BodyLimits { bytes_max: 64, ..BodyLimits::default() });
    request
}

async fn extract(body: &str, media_type: Option<&str>) -> Result<Json<Shelf>, Problem> {
    Json::from_request(request(body.to_owned(), media_type), &()).await
}

#[tokio::test]
async fn a_sound_body_is_read_and_digested() {
    let body = "{\"label\":\"a\"}";
    for media_type in ["application/json", "Application/JSON; charset=utf-8", "application/a+json"]
    {
        let json = extract(body, Some(media_type)).await.unwrap();
        assert_eq!(json.value.label, "a");
        assert!(json.value.boxes.is_empty());
        assert_eq!(json.digest, Digest::of(body.as_bytes()));
    }
}

#[tokio::test]
async fn what_is_no_json_by_name_is_not_read() {
    for media_type in [None, Some("text/plain"), Some("application/jsonp")] {
        let problem = extract("{\"label\":\"a\"}", media_type).await.unwrap_err();
        assert_eq!(problem.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[tokio::test]
async fn too_much_is_refused() {
    let body = format!("{{\"label\":\"{}\"}}", "a".repeat(64));
    let problem = extract(&body, Some("application/json")).await.unwrap_err();
    assert_eq!(problem.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(problem.body().code, "body-too-large");
}

#[tokio::test]
async fn a_rule_that_is_broken_is_named() {
    let problem = extract("{\"label\":\"\"}", Some("application/json")).await.unwrap_err();
    assert_eq!(problem.body().errors[0].pointer, "/label");
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let stalled =
        axum::body::Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let mut request = request(stalled, Some("application/json"));
    let limits = BodyLimits { pause_max: Duration::from_millis(10), ..BodyLimits::default() };
    request.extensions_mut().insert(limits);
    let problem = Json::<Shelf>::from_request(request, &()).await.unwrap_err();
    assert_eq!(problem.status(), StatusCode::REQUEST_TIMEOUT);
}
