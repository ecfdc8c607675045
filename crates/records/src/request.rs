//! From a request to the demands of a command, and from its answer to a response.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use contracts::{Digest, Id};
use service_kit::{Precondition, Problem};

use crate::{
    Answer, Demands, Once,
    read::{WAITS_FOR, put},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What of a request tells it from others, beside its record and its body.
#[derive(Debug)]
pub struct Request {
    method: Method,
    uri: Uri,
    key: Option<String>,
}

impl Request {
    /// What this request demands of a write to this record of this topic. A repeat may spell its
    /// path another way, so the record counts and not the path.
    pub fn demands(
        &self,
        condition: Precondition,
        (topic, record): (&str, &str),
        body: Option<&Digest>,
    ) -> Demands {
        let once = self.key.clone().map(|key| {
            let body = body.map(Digest::to_string).unwrap_or_default();
            let request = format!("{} {topic} {record} {body}", self.method);
            Once { key, request: Digest::of(request.as_bytes()) }
        });
        Demands { condition, once }
    }
}

impl<S: Sync> FromRequestParts<S> for Request {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let key = idempotency_key(&parts.headers)?;
        Ok(Self { method: parts.method.clone(), uri: parts.uri.clone(), key })
    }
}

/// The `Idempotency-Key` of a request.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let visible = |text: &&str| (1..=255).contains(&text.len()) && text.is_ascii();
    match (value.to_str().ok().filter(visible), values.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed-idempotency-key",
            "The idempotency key cannot be used",
        )
        .detail("send one Idempotency-Key of 1 to 255 visible ASCII characters")),
    }
}

/// The id that stands in the path as this field.
pub fn id(raw: &str, field: &str) -> Result<Id, Problem> {
    Id::parse(raw).map_err(|invalid| {
        Problem::invalid(format!("{field} in the path {invalid}")).field(
            format!("/{field}"),
            invalid.code,
            invalid.reason,
        )
    })
}

/// The response that carries this answer.
pub fn written(answer: Answer, request: &Request) -> Response {
    let mut response = match answer.body {
        Some(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        None => ().into_response(),
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or_default();
    *response.status_mut() = status;
    let here = || (status == StatusCode::CREATED).then(|| request.uri.path().to_owned());
    put(&mut response, header::LOCATION, answer.location.or_else(here));
    put(&mut response, header::ETAG, answer.etag);
    put(&mut response, WAITS_FOR, answer.waits_for);
    response
}
