//! A consumer that was away: how soon it has read what it missed.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::DRAIN_LIMIT;
use super::load::{Load, take_notes, write};
use crate::figures::Figures;
use crate::lane::{Running, Syncline};

/// Kills the consumer, writes this load, starts it again, and waits until it has everything.
pub async fn outage(
    lane: &mut Syncline,
    running: &mut Running,
    load: &Load,
) -> anyhow::Result<Figures> {
    running.consumer.take().context("a consumer runs")?.kill().await?;
    let before = lane.head().await?;
    write(lane, load).await?;
    // What the relay has sealed is what is missed.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let missed = lane.head().await? - before;
    let start = Instant::now();
    running.consumer = Some(lane.consumer(&running.relay).await?);
    lane.drain(DRAIN_LIMIT).await?;
    let recovered = start.elapsed();
    let notes = take_notes(running).await?;
    let reading = notes.moved.first().zip(notes.moved.last());
    let took = reading.map_or(Duration::ZERO, |((_, first), (_, last))| last.since(*first));
    // The first move ended a batch that had begun before it.
    let first = notes.moved.first().map_or(before, |(pn, _)| *pn);
    let rest = u32::try_from(before + missed - first).unwrap_or(0);
    let mut figures = Figures {
        offered: load.rate,
        changes: missed.unsigned_abs(),
        applied: f64::from(rest) / took.as_secs_f64().max(f64::MIN_POSITIVE),
        ..Figures::default()
    };
    figures.others.insert("drain_per_s".to_owned(), figures.applied);
    figures.others.insert("drain_s".to_owned(), recovered.as_secs_f64());
    Ok(figures)
}
