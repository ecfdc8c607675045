//! What is critical overtakes: changes in the critical lane while another lane is flooded.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use tokio::time::sleep;
use tower::ServiceExt as _;

use super::DRAIN_LIMIT;
use super::load::{Load, take_text};
use super::writing::Writer;
use crate::clock::Moment;
use crate::figures::Figures;
use crate::lane::{Running, Syncline};
use crate::measure::{Notes, Spread};
use crate::source::pool;

const MAKE_CRITICAL: &str = include_str!("../../queries/make_critical.sql");
const STREAM: &str = "catalog.categories.critical";
const PAUSE: Duration = Duration::from_millis(20);

/// Writes categories, which are critical here, one after another, while products come as many as
/// go in the normal lane. Of a fresh lane only: the categories' numbers are counted from 1.
pub async fn critical(
    lane: &mut Syncline,
    running: &mut Running,
    flood: &Load,
) -> anyhow::Result<Figures> {
    lane.source.connect().await?.execute(MAKE_CRITICAL, &[]).await?;
    let routes = catalog::routes(pool(&lane.source.url(), 1)?);
    take_text(running).await?;
    let writer = Writer::of(lane, flood).await?;
    let mut answered = Vec::new();
    let written = {
        let flooding = writer.go();
        tokio::pin!(flooding);
        loop {
            tokio::select! {
                written = &mut flooding => break written?,
                at = write(&routes, answered.len()) => {
                    answered.push(at?);
                    sleep(PAUSE).await;
                }
            }
        }
    };
    lane.next += written.count();
    lane.drain(DRAIN_LIMIT).await?;
    sleep(Duration::from_secs(1)).await;
    let notes = Notes::read(&take_text(running).await?, STREAM)?;
    let (mut spread, mut lost) = (Spread::default(), 0);
    for (pn, at) in (1..).zip(&answered) {
        match notes.applied(pn) {
            Some(applied) => spread.note(*at, applied)?,
            None => lost += 1,
        }
    }
    let changes = u64::try_from(answered.len())?;
    Ok(Figures { changes, lost, commit_to_applied: spread.latency(), ..Figures::default() })
}

/// Writes one category; answers when that was answered.
async fn write(routes: &Router, number: usize) -> anyhow::Result<Moment> {
    let body = format!(r#"{{"name":"Category {number}","parent":null}}"#);
    let request = http::Request::put(format!("/api/v1/categories/c{}", number % 100))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body))?;
    let answer = routes.clone().oneshot(request).await?;
    anyhow::ensure!(answer.status().is_success(), "catalog answered {}", answer.status());
    Ok(Moment::now())
}
