//! One question to the service that owns the answer, and what its failures mean.
//!
//! Nothing is tried again here: only the caller knows whether its request may be repeated.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use service_kit::{Body, Problem};

use crate::owners::Owner;

/// The longest path with its query that is passed on. The sidecar refuses a head that its read
/// buffer does not hold, which would look like an owner that is away: that buffer must hold this,
/// even where each byte of it is written as three, and the headers.
const PATH_BYTES_MAX: usize = 8 * 1024;
/// The most that the headers which are passed on may hold together.
const HEADERS_BYTES_MAX: usize = 8 * 1024;
/// What the standard asks everybody to carry; more is left out, since no answer depends on it.
const TRACESTATE_BYTES_MAX: usize = 512;
/// What an owner's answer may hold; the sidecar's own limit.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
const TRACE: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
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
    TRACESTATE,
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

/// A request as it came from outside.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl<S: Sync> FromRequest<S> for Question {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let headers = request.headers().clone();
        let Body(body) = Body::from_request(request, state).await?;
        Ok(Self { method, uri, headers, body })
    }
}

/// Asks the owner, and answers as it does.
pub(crate) async fn ask(owner: &Owner, question: Question) -> Result<Response, Problem> {
    let question = within_bounds(question)?;
    let mut answer = send(owner, question).await.map_err(|error| failed(owner, &error))?;
    let status = answer.status();
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(owner, &error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(bad_answer(owner, "is larger than any answer should be"));
        }
        body.extend_from_slice(&chunk);
    }
    let refused = status.is_client_error() || status.is_server_error();
    if refused && !is_from_service(answer.headers()) {
        let said = String::from_utf8_lossy(body.get(..300).unwrap_or(&body));
        let status = status.as_u16();
        tracing::warn!(owner = owner.name, status, error = %said, "owner is away");
        return Err(away(owner));
    }
    Ok((status, without_hop_by_hop(answer.headers()), body.freeze()).into_response())
}

/// The question with those of its headers that are passed on, where the road can carry it.
fn within_bounds(question: Question) -> Result<Question, Problem> {
    if path(&question.uri).len() > PATH_BYTES_MAX {
        let title = "The address is too long";
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "address-too-long", title)
            .detail(format!("path and query may have at most {PATH_BYTES_MAX} bytes")));
    }
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for name in ASKED {
        let values: Vec<_> = question.headers.get_all(&name).iter().collect();
        let held: usize = values.iter().map(|value| name.as_str().len() + value.len()).sum();
        if name == TRACESTATE && held > TRACESTATE_BYTES_MAX {
            continue;
        }
        bytes += held;
        // Each of them: which one holds, or that there may be one only, is the owner's to say.
        for value in values {
            headers.append(&name, value.clone());
        }
    }
    if bytes > HEADERS_BYTES_MAX {
        let title = "The headers are too large";
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Problem::new(status, "headers-too-large", title).detail(format!(
            "{} may have at most {HEADERS_BYTES_MAX} bytes together",
            ASKED.map(|name| name.to_string()).join(", ")
        )));
    }
    Ok(Question { headers, ..question })
}

fn path(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

async fn send(owner: &Owner, question: Question) -> Result<reqwest::Response, reqwest::Error> {
    // The caller of HEAD is answered by the router, which drops the body of a GET.
    let method = if question.method == Method::HEAD { Method::GET } else { question.method };
    let mut request = owner.peer.request(method, path(&question.uri)).timeout(owner.answer_max);
    if !question.body.is_empty() {
        request = request.body(question.body);
    }
    let (client, request) = request.build_split();
    let mut request = request?;
    for (name, value) in &question.headers {
        // The trace of the span that is open here continues the caller's and goes first.
        if *name != TRACE || !request.headers().contains_key(TRACE) {
            request.headers_mut().append(name, value.clone());
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
fn failed(owner: &Owner, error: &reqwest::Error) -> Problem {
    tracing::warn!(owner = owner.name, error = service_kit::chain(error), "owner did not answer");
    if error.is_connect() {
        away(owner)
    } else if error.is_timeout() {
        let title = "A part of the system did not answer in time";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "owner-timeout", title).detail(format!(
            "{} did not answer within {} ms; a change may or may not have taken effect",
            owner.name,
            owner.answer_max.as_millis()
        ))
    } else {
        bad_answer(owner, "broke off")
    }
}

fn away(owner: &Owner) -> Problem {
    let title = "A part of the system is away";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "owner-away", title)
        .detail(format!("{} cannot be reached; try again in a moment", owner.name))
}

fn bad_answer(owner: &Owner, what: &str) -> Problem {
    let title = "A part of the system gave no usable answer";
    Problem::new(StatusCode::BAD_GATEWAY, "owner-answer", title).detail(format!(
        "the answer of {} {what}; a change may or may not have taken effect",
        owner.name
    ))
}
