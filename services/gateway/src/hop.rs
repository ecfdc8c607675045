//! One question to the service that owns the answer, and what its failures mean.
//!
//! Nothing is tried again here: only the caller knows whether its request may be repeated.

use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use service_kit::Problem;

use crate::parts::Part;

/// What an owner's answer may hold; the sidecar's own limit.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
const TRACE: HeaderName = HeaderName::from_static("traceparent");
/// Set by every service on every answer, and by no sidecar.
const SERVICE: HeaderName = HeaderName::from_static("x-syncline-service");

/// The request headers that owners read. All others stay outside: `dapr-app-id`, or a user named
/// so in `authorization`, would make the sidecar ask another service than the route's owner.
const ASKED: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    TRACE,
    HeaderName::from_static("tracestate"),
];

/// Response headers that belong to one connection, or to the framing of one message.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::DATE,
];

/// A request as it came from outside, its path already checked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Asks the owner, and answers as it does.
pub(crate) async fn ask(part: &Part, question: Question<'_>) -> Result<Response, Problem> {
    let mut answer = send(part, question).await.map_err(|error| failed(part, &error))?;
    let status = answer.status();
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(part, &error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(bad_answer(part, "is larger than any answer should be"));
        }
        body.extend_from_slice(&chunk);
    }
    let refused = status.is_client_error() || status.is_server_error();
    if refused && !is_from_service(answer.headers()) {
        let said = String::from_utf8_lossy(body.get(..300).unwrap_or(&body));
        tracing::warn!(part = part.name, status = status.as_u16(), error = %said, "part is away");
        return Err(away(part));
    }
    Ok((status, without_hop_by_hop(answer.headers()), body.freeze()).into_response())
}

async fn send(part: &Part, question: Question<'_>) -> Result<reqwest::Response, reqwest::Error> {
    // The caller of HEAD is answered by the router, which drops the body of a GET.
    let method = if question.method == Method::HEAD { Method::GET } else { question.method };
    let mut request = part.peer.request(method, question.path).timeout(part.answer_max);
    if !question.body.is_empty() {
        request = request.body(question.body);
    }
    let (client, request) = request.build_split();
    let mut request = request?;
    for name in ASKED {
        // The trace of the span that is open here continues the caller's and goes first.
        if let Some(value) = question.headers.get(&name) {
            request.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
    }
    client.execute(request).await
}

/// An owner's own refusal goes to the caller; one of the road between never does, since its 401,
/// 404 or 500 would speak of things that the caller did not ask about.
fn is_from_service(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    headers.contains_key(SERVICE) || media.starts_with(contracts::Problem::MEDIA_TYPE.as_bytes())
}

fn without_hop_by_hop(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<_> = named.flat_map(|list| list.split(',').map(str::trim)).collect();
    let belongs = |name: &HeaderName| {
        HOP_BY_HOP.contains(name) || named.iter().any(|one| one.eq_ignore_ascii_case(name.as_str()))
    };
    let kept = headers.iter().filter(|(name, _)| !belongs(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What becomes of a question without an answer.
fn failed(part: &Part, error: &reqwest::Error) -> Problem {
    tracing::warn!(part = part.name, error = service_kit::chain(error), "part did not answer");
    if error.is_connect() {
        away(part)
    } else if error.is_timeout() {
        let title = "A part of the system did not answer in time";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "part-timeout", title).detail(format!(
            "{} did not answer within {} ms; a change may or may not have taken effect",
            part.name,
            part.answer_max.as_millis()
        ))
    } else {
        bad_answer(part, "broke off")
    }
}

fn away(part: &Part) -> Problem {
    let title = "A part of the system is away";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "part-away", title)
        .detail(format!("{} cannot be reached; try again in a moment", part.name))
}

fn bad_answer(part: &Part, what: &str) -> Problem {
    let title = "A part of the system gave no usable answer";
    Problem::new(StatusCode::BAD_GATEWAY, "part-answer", title).detail(format!(
        "the answer of {} {what}; a change may or may not have taken effect",
        part.name
    ))
}
