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

/// Why an owner gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No road leads to it now.
    Away,
    /// It took too long.
    Late,
    /// What came is no answer, in words that follow "the answer of ...".
    Unusable(&'static str),
}

/// What an owner answered, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Question {
    /// Asks for what is there, without conditions.
    pub(crate) fn get(uri: Uri) -> Self {
        Self { method: Method::GET, uri, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

impl Failure {
    /// The failure in words.
    pub(crate) fn reason(self, owner: &Owner) -> String {
        let name = owner.name;
        match self {
            Self::Away => format!("{name} cannot be reached"),
            Self::Late => {
                format!("{name} did not answer within {} ms", owner.answer_max.as_millis())
            }
            Self::Unusable(what) => format!("the answer of {name} {what}"),
        }
    }

    /// The failure as the caller of a route hears of it.
    pub(crate) fn problem(self, owner: &Owner) -> Problem {
        let effect = "a change may or may not have taken effect";
        let (status, code, title, advice) = match self {
            Self::Away => {
                let title = "A part of the system is away";
                (StatusCode::SERVICE_UNAVAILABLE, "owner-away", title, "try again in a moment")
            }
            Self::Late => {
                let title = "A part of the system did not answer in time";
                (StatusCode::GATEWAY_TIMEOUT, "owner-timeout", title, effect)
            }
            Self::Unusable(_) => {
                let title = "A part of the system gave no usable answer";
                (StatusCode::BAD_GATEWAY, "owner-answer", title, effect)
            }
        };
        Problem::new(status, code, title).detail(format!("{}; {advice}", self.reason(owner)))
    }
}

/// Asks the owner, and answers as it does.
pub(crate) async fn ask(owner: &Owner, question: Question) -> Result<Response, Problem> {
    let question = within_bounds(question)?;
    let Answer { status, headers, body } =
        fetch(owner, question).await.map_err(|failure| failure.problem(owner))?;
    Ok((status, without_hop_by_hop(&headers), body).into_response())
}

/// Asks the owner once; its own refusals are answers.
pub(crate) async fn fetch(owner: &Owner, question: Question) -> Result<Answer, Failure> {
    let mut answer = send(owner, question).await.map_err(|error| failed(owner, &error))?;
    let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(owner, &error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Failure::Unusable("is larger than any answer should be"));
        }
        body.extend_from_slice(&chunk);
    }
    check(owner, status, &headers, &body)?;
    Ok(Answer { status, headers, body: body.freeze() })
}

/// An owner's own refusal goes to the caller; one of the road between never does, since its 401,
/// 404 or 500 would speak of things that the caller did not ask about.
pub(crate) fn check(
    owner: &Owner,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Failure> {
    let refused = status.is_client_error() || status.is_server_error();
    if !refused || is_from_service(headers) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(body.get(..300).unwrap_or(body));
    let status = status.as_u16();
    tracing::warn!(owner = owner.name, status, error = %said, "owner is away");
    Err(Failure::Away)
}

/// The question with those of its headers that are passed on, where the road can carry it.
fn within_bounds(question: Question) -> Result<Question, Problem> {
    let headers = passed_on(&question.uri, &question.headers)?;
    Ok(Question { headers, ..question })
}

/// Those of the headers that are passed on, where the road can carry them and the address.
pub(crate) fn passed_on(uri: &Uri, given: &HeaderMap) -> Result<HeaderMap, Problem> {
    if path(uri).len() > PATH_BYTES_MAX {
        let title = "The address is too long";
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "address-too-long", title)
            .detail(format!("path and query may have at most {PATH_BYTES_MAX} bytes")));
    }
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for name in ASKED {
        let values: Vec<_> = given.get_all(&name).iter().collect();
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
    Ok(headers)
}

pub(crate) fn path(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

async fn send(owner: &Owner, question: Question) -> Result<reqwest::Response, reqwest::Error> {
    // The caller of HEAD is answered by the router, which drops the body of a GET.
    let method = if question.method == Method::HEAD { Method::GET } else { question.method };
    let mut request = owner.peer.request(method, path(&question.uri)).timeout(owner.answer_max);
    if !question.body.is_empty() {
        request = request.body(question.body);
    }
    execute(request, &question.headers).await
}

/// Sends a request with these headers beside its own.
pub(crate) async fn execute(
    request: reqwest::RequestBuilder,
    headers: &HeaderMap,
) -> Result<reqwest::Response, reqwest::Error> {
    let (client, request) = request.build_split();
    let mut request = request?;
    for (name, value) in headers {
        // The trace of the span that is open here continues the caller's and goes first.
        if *name != TRACE || !request.headers().contains_key(TRACE) {
            request.headers_mut().append(name, value.clone());
        }
    }
    client.execute(request).await
}

fn is_from_service(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    headers.contains_key(SERVICE) || media.starts_with(contracts::Problem::MEDIA_TYPE.as_bytes())
}

pub(crate) fn without_hop_by_hop(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<_> = named.flat_map(|list| list.split(',').map(str::trim)).collect();
    let belongs = |name: &HeaderName| {
        HOP_BY_HOP.contains(name) || named.iter().any(|one| one.eq_ignore_ascii_case(name.as_str()))
    };
    let kept = headers.iter().filter(|(name, _)| !belongs(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What becomes of a question without an answer.
pub(crate) fn failed(owner: &Owner, error: &reqwest::Error) -> Failure {
    tracing::warn!(owner = owner.name, error = service_kit::chain(error), "owner did not answer");
    if error.is_connect() {
        Failure::Away
    } else if error.is_timeout() {
        Failure::Late
    } else {
        Failure::Unusable("broke off")
    }
}
