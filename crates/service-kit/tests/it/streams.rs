//! Bodies that are read piece by piece, over real connections.

use std::{convert::Infallible, time::Duration};

use axum::{Router, routing::post};
use futures::{StreamExt as _, stream};
use service_kit::{BodyStream, Problem, Service, streamed};

use crate::world::{Running, config};

/// Counts the bytes of a body.
async fn count(mut body: BodyStream) -> Result<String, Problem> {
    let mut bytes = 0;
    while let Some(piece) = body.next().await {
        bytes += piece?.len();
    }
    Ok(bytes.to_string())
}

async fn started() -> Running {
    let limits = ["--http-request-ms-max=100", "--http-body-pause-ms-max=1000"];
    let service =
        Service::start("sample", &config(&[&limits[..], &["--http-body-bytes-max=10"]].concat()));
    let routes = Router::new().route("/stream", post(count));
    let routes = streamed(routes).route("/plain", post(count));
    Running::start(service.expect("sound settings"), routes).await
}

/// Twenty pieces within 200 ms, and what follows them.
async fn send(service: &Running, path: &str, endless: Duration) -> reqwest::Response {
    let pieces = stream::iter(0..20).then(|_| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<_, Infallible>("piece")
    });
    let end = stream::once(async move {
        tokio::time::sleep(endless).await;
        Ok("")
    });
    let body = reqwest::Body::wrap_stream(pieces.chain(end));
    let request = reqwest::Client::new().post(service.url(path)).body(body);
    request.send().await.expect("an answer")
}

#[tokio::test]
async fn a_stream_may_take_long_and_be_large() {
    let service = started().await;
    let answer = send(&service, "/stream", Duration::ZERO).await;
    assert_eq!(answer.text().await.unwrap(), "100");
    let limited = send(&service, "/plain", Duration::ZERO).await;
    assert_eq!(limited.status(), 503, "the limit that streams are free of was not met");
}

#[tokio::test]
async fn a_stream_may_not_be_silent_for_long() {
    let service = started().await;
    let answer = send(&service, "/stream", Duration::from_secs(60)).await;
    assert_eq!(answer.status(), 408);
}

#[tokio::test]
async fn streams_beyond_a_few_are_asked_to_come_again() {
    let service = started().await;
    let answers = (0..12).map(|_| send(&service, "/stream", Duration::from_millis(300)));
    let statuses: Vec<u16> = futures::future::join_all(answers)
        .await
        .into_iter()
        .map(|answer| answer.status().as_u16())
        .collect();
    let count = |status| statuses.iter().filter(|&&one| one == status).count();
    assert_eq!((count(200), count(503)), (4, 8), "{statuses:?}");
}
