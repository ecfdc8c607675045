//! The HTTP side of deliveries: who may call, and what each outcome is answered with.

use std::any::Any;
use std::hint::black_box;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{StatusCode, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use tower_http::catch_panic::CatchPanicLayer;

use contracts::{Problem, Stream};

use crate::delivery::{Subscriptions, complain};
use crate::peer::TOKEN_HEADER;
use crate::{Delivery, Verdict};

/// The sidecar's own limit; an envelope stays far below it.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(crate) fn deliveries(subscriptions: Arc<Subscriptions>) -> Router {
    Router::new()
        .route("/events/{*stream}", post(deliver).fallback(unknown_route))
        .route("/events", any(unknown_route))
        .route("/events/", any(unknown_route))
        .with_state(subscriptions)
        .route_layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route_layer(CatchPanicLayer::custom(panicked))
}

async fn deliver(
    State(subscriptions): State<Arc<Subscriptions>>,
    Path(raw): Path<String>,
    body: Bytes,
) -> Response {
    let known = Stream::parse(&raw)
        .ok()
        .and_then(|stream| subscriptions.find(&stream).map(|handler| (stream, handler)));
    let Some((stream, handler)) = known else {
        tracing::warn!(stream = raw, "delivery of a stream that nobody here handles");
        let detail = format!("nobody here handles {raw:?}, at least not yet");
        return refuse(failed("unknown-stream", "Unknown stream"), detail);
    };
    match handler.deliver(Delivery { stream, body }).await {
        Verdict::Done => StatusCode::OK.into_response(),
        Verdict::Retry => {
            refuse(failed("try-again", "Delivery not taken"), "send it again in a moment")
        }
    }
}

async fn unknown_route(uri: Uri) -> Response {
    tracing::warn!(path = uri.path(), "delivery at an unknown route");
    let detail = "deliveries are taken by POST at /events/ and the name of a stream";
    refuse(failed("unknown-route", "Unknown delivery route"), detail)
}

#[expect(clippy::needless_pass_by_value, reason = "the form that the layer calls")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    complain(panic.as_ref());
    refuse(failed("panic", "Delivery not taken"), "its handler failed; the log names the cause")
}

pub(crate) fn guard(routes: Router, expected: Option<SecretString>) -> Router {
    routes.route_layer(middleware::from_fn_with_state(expected, check_token))
}

async fn check_token(
    State(expected): State<Option<SecretString>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let shown = headers.get(TOKEN_HEADER).map_or(&[][..], |value| value.as_bytes());
    let matches = expected.is_some_and(|token| is_same(token.expose_secret().as_bytes(), shown));
    if matches {
        next.run(request).await
    } else {
        let title = "The app token is missing or wrong";
        let problem = Problem::new(StatusCode::UNAUTHORIZED.as_u16(), "app-token", title);
        refuse(problem, "show in header dapr-api-token what this service has as APP_API_TOKEN")
    }
}

/// Compares in a time that does not tell how much of the token was right.
fn is_same(expected: &[u8], shown: &[u8]) -> bool {
    let pairs = expected.iter().zip(shown);
    let difference = pairs.fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
    !expected.is_empty() && expected.len() == shown.len() && difference == 0
}

fn failed(code: &str, title: &str) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR.as_u16(), code, title)
}

fn refuse(problem: Problem, detail: impl Into<String>) -> Response {
    let problem = problem.with_detail(detail);
    let status = StatusCode::from_u16(problem.status).expect("made from a status");
    let body = serde_json::to_vec(&problem).expect("a problem is plain text and numbers");
    (status, [(CONTENT_TYPE, Problem::MEDIA_TYPE)], body).into_response()
}
