//! Imports: streamed to their owner at its own pace, whatever their length.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use testkit::eventually;
use tokio::sync::Semaphore;

use crate::World;

const IMPORT: &str = "/api/v1/products/import";
const PIECE_BYTES: usize = 64 * 1024;
/// More than all the buffers between the caller and the owner, which are a few sockets' worth.
const BUFFERS_BYTES_MAX: usize = 32 * 1024 * 1024;

fn own(answer: impl axum::response::IntoResponse) -> Response {
    ([("x-syncline-service", "catalog")], answer).into_response()
}

async fn in_front_of<F, Fut>(import: F) -> World
where
    F: Fn(Request) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    World::start(Some(Router::new().fallback(import)), None).await
}

/// A body of so many pieces, of which is counted how many were taken.
fn pieces(count: usize, taken: &Arc<AtomicUsize>) -> Body {
    let taken = Arc::clone(taken);
    Body::from_stream(stream::iter(0..count).map(move |_| {
        taken.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; PIECE_BYTES]))
    }))
}

fn import(body: Body) -> Request {
    let request = Request::post(format!("{IMPORT}?dry=1"));
    request.header("content-type", "text/csv").header("idempotency-key", "k").body(body).unwrap()
}

#[tokio::test]
async fn an_import_longer_than_any_buffer_passes_at_the_owners_pace() {
    let leave = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&leave);
    let world = in_front_of(move |request: Request| {
        let gate = Arc::clone(&gate);
        async move {
            let (parts, body) = request.into_parts();
            gate.acquire().await.unwrap().forget();
            let mut bytes = 0;
            let mut body = body.into_data_stream();
            while let Some(piece) = body.next().await {
                bytes += piece.unwrap().len();
            }
            let header = |name| parts.headers[name].to_str().unwrap().to_owned();
            let said = [parts.uri.to_string(), header("content-type"), header("idempotency-key")];
            own(format!("{bytes} bytes, {}", said.join(", ")))
        }
    })
    .await;
    let (taken, count) = (Arc::default(), 2 * BUFFERS_BYTES_MAX / PIECE_BYTES);
    let asking = world.ask(import(pieces(count, &taken)));
    let watching = async {
        let seen = || taken.load(Ordering::SeqCst);
        let before = AtomicUsize::new(usize::MAX);
        eventually("nothing more is taken while the owner takes nothing", async || {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = seen();
            Ok(now > 0 && now == before.swap(now, Ordering::SeqCst))
        })
        .await;
        assert!(seen() * PIECE_BYTES < BUFFERS_BYTES_MAX, "{} pieces lie in between", seen());
        leave.add_permits(1);
    };
    let (answer, ()) = tokio::join!(asking, watching);
    assert_eq!(answer.status, StatusCode::OK);
    let expected = format!("{} bytes, {IMPORT}?dry=1, text/csv, k", count * PIECE_BYTES);
    assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
}

#[tokio::test]
async fn a_refusal_before_the_end_passes() {
    let problem = r#"{"type":"/problems/media","status":415}"#;
    let refuse = move |_: Request| async move {
        let media = [("content-type", "application/problem+json")];
        own((StatusCode::UNSUPPORTED_MEDIA_TYPE, media, problem))
    };
    let world = in_front_of(refuse).await;
    let taken = Arc::default();
    let answer = world.ask(import(pieces(usize::MAX, &taken))).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer.body, problem.as_bytes());
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_broken_off_for_the_owner_too() {
    let ends = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&ends);
    let world = in_front_of(move |request: Request| {
        let seen = Arc::clone(&seen);
        async move {
            let body = axum::body::to_bytes(request.into_body(), usize::MAX).await;
            seen.lock().unwrap().push(body.is_ok());
            own("stored")
        }
    })
    .await;
    let first = stream::iter([Ok(Bytes::from_static(b"a,b\n"))]);
    let fault = stream::iter([Err(std::io::Error::other("gone"))]);
    let (status, code, _) =
        world.ask(import(Body::from_stream(first.chain(fault)))).await.problem();
    assert_eq!((status, code.as_str()), (400, "body-broken-off"));
    eventually("the owner has seen an end", async || Ok(!ends.lock().unwrap().is_empty())).await;
    assert_eq!(*ends.lock().unwrap(), [false], "the owner took a part for the whole");
}

#[tokio::test]
async fn an_owner_that_is_away_or_breaks_off_is_named() {
    let world = World::start(None, None).await;
    let (status, code, detail) = world.ask(import(Body::from("x"))).await.problem();
    assert_eq!((status, code.as_str()), (503, "owner-away"));
    assert!(detail.starts_with("catalog"), "{detail}");

    let sidecar = |_: Request| async { (StatusCode::FORBIDDEN, "not yours").into_response() };
    let (status, code, _) = in_front_of(sidecar).await.ask(import(Body::from("x"))).await.problem();
    assert_eq!((status, code.as_str()), (503, "owner-away"));
}
