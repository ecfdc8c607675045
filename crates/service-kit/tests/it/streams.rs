//! Bodies that are read piece by piece, over real connections.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use futures::{StreamExt as _, channel::mpsc, stream};
use service_kit::{BodyStream, Problem, Service, streamed};

use crate::world::{Running, config};

/// How many bodies are being read.
type Reading = Arc<AtomicUsize>;

/// Counts the bytes of a body.
async fn count(State(reading): State<Reading>, mut body: BodyStream) -> Result<String, Problem> {
    reading.fetch_add(1, Ordering::SeqCst);
    let mut bytes = 0;
    while let Some(piece) = body.next().await {
        bytes += piece?.len();
    }
    Ok(bytes.to_string())
}

async fn started(pause_max: &str) -> (Running, Reading) {
    let limits = ["--http-request-ms-max=100", "--http-body-bytes-max=10", pause_max];
    let service = Service::start("sample", &config(&limits)).expect("sound settings");
    let routes = Router::new().route("/stream", post(count));
    let routes = streamed(routes).route("/plain", post(count));
    let reading = Reading::default();
    (Running::start(service, routes.with_state(Arc::clone(&reading))).await, reading)
}

async fn send(service: &Running, path: &str, body: reqwest::Body) -> reqwest::Response {
    let request = reqwest::Client::new().post(service.url(path)).body(body);
    request.send().await.expect("an answer")
}

#[tokio::test]
async fn a_stream_may_take_long_and_be_large() {
    let (service, _) = started("--http-body-pause-ms-max=10000").await;
    let body = || {
        let pieces = stream::iter(0..20).then(|_| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, Infallible>("piece")
        });
        reqwest::Body::wrap_stream(pieces)
    };
    let answer = send(&service, "/stream", body()).await;
    assert_eq!(answer.text().await.unwrap(), "100");
    let limited = send(&service, "/plain", body()).await;
    assert_eq!(limited.status(), 503, "the limit that streams are free of was not met");
}

#[tokio::test]
async fn a_stream_may_not_be_silent_for_long() {
    let (service, _) = started("--http-body-pause-ms-max=50").await;
    let pieces = stream::iter([Ok::<_, Infallible>("piece")]).chain(stream::pending());
    let answer = send(&service, "/stream", reqwest::Body::wrap_stream(pieces)).await;
    assert_eq!(answer.status(), 408);
}

#[tokio::test]
async fn streams_beyond_a_few_are_asked_to_come_again() {
    let (service, reading) = started("--http-body-pause-ms-max=10000").await;
    let (senders, bodies): (Vec<_>, Vec<_>) =
        (0..4).map(|_| mpsc::unbounded::<Result<&str, Infallible>>()).unzip();
    let held = bodies
        .into_iter()
        .map(|pieces| send(&service, "/stream", reqwest::Body::wrap_stream(pieces)));
    let others = async {
        for sender in &senders {
            sender.unbounded_send(Ok("piece")).expect("it is read");
        }
        testkit::eventually("all of them are read", || async {
            Ok(reading.load(Ordering::SeqCst) == 4)
        })
        .await;
        let refused = send(&service, "/stream", "one more".into()).await;
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        drop(senders);
    };
    let (held, ()) = tokio::join!(futures::future::join_all(held), others);
    assert!(held.iter().all(|answer| answer.status() == 200), "{held:?}");
    assert_eq!(send(&service, "/stream", "again".into()).await.status(), 200);
}
