//! An import of many products through catalog's own route, until the copy has them all.

use tokio::time::Instant;

use super::DRAIN_LIMIT;
use super::load::take_notes;
use crate::figures::Figures;
use crate::lane::{Running, Syncline};
use crate::meter::Meter;
use crate::workload::{Kind, body};

/// What the route answers at its end.
#[derive(serde::Deserialize)]
struct Imported {
    stored: u32,
}

/// Imports this many products, in one request.
pub async fn import(
    lane: &mut Syncline,
    running: &mut Running,
    products: u32,
) -> anyhow::Result<Figures> {
    take_notes(running).await?;
    let meter = Meter::start(lane.place(), lane.databases(), running.pids()).await?;
    let first = lane.next;
    // Lines arrive in pieces as they do from a socket, and are made before the clock starts.
    let lines: Vec<String> =
        (0..products).map(|key| body(key, first + u64::from(key), Kind::Put) + "\n").collect();
    let pieces: Vec<_> =
        lines.chunks(100).map(|chunk| bytes::Bytes::from(chunk.concat())).collect();
    let pieces = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>));
    let routes = catalog::routes(crate::source::pool(&lane.source.url(), 4)?);
    let request = http::Request::post("/api/v1/products/import")
        .header(http::header::CONTENT_TYPE, "application/x-ndjson")
        .body(axum::body::Body::from_stream(pieces))?;
    let start = Instant::now();
    let answer = tower::ServiceExt::oneshot(routes, request).await?;
    let told = axum::body::to_bytes(answer.into_body(), 1 << 20).await?;
    let answered = start.elapsed();
    lane.drain(DRAIN_LIMIT).await?;
    let applied = start.elapsed();
    let told: Imported = serde_json::from_slice(&told)?;
    anyhow::ensure!(told.stored == products, "the import stored {} of {products}", told.stored);
    running.check()?;
    (lane.next, lane.keys) = (lane.next + u64::from(products), lane.keys.max(products));
    let mut figures = Figures {
        changes: u64::from(products),
        applied: f64::from(products) / applied.as_secs_f64(),
        ..Figures::default()
    };
    meter.stop().await?.add(&mut figures);
    take_notes(running).await?;
    figures.others.insert("import_answered_s".to_owned(), answered.as_secs_f64());
    figures.others.insert("import_applied_s".to_owned(), applied.as_secs_f64());
    Ok(figures)
}
