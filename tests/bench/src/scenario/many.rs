//! Many consumers of one source: when the last of them has applied a change.

use testkit::Database;

use super::DRAIN_LIMIT;
use super::load::{Load, numbered, take_notes_of};
use super::writing::Writer;
use crate::figures::Figures;
use crate::lane::{Part, Syncline};
use crate::measure::join;

/// Starts this many consumers, each with a copy of its own, and runs a load for all of them.
pub async fn many(lane: &mut Syncline, consumers: u32, load: &Load) -> anyhow::Result<Figures> {
    lane.place().flush().await?;
    let relay = lane.relay().await?;
    let mut copies: Vec<(Database, Part)> = Vec::new();
    for number in 0..consumers {
        let copy = Syncline::fresh_copy().await?;
        let name = format!("bench-{consumers}-{number}");
        let consumer = lane.consumer_of(&relay, &copy, &name).await?;
        copies.push((copy, consumer));
    }
    let writer = Writer::of(lane, load).await?;
    for (copy, consumer) in &copies {
        lane.drain_to(copy, DRAIN_LIMIT).await?;
        take_notes_of(consumer).await?;
    }
    let after = lane.head().await?;
    let written = writer.go().await?;
    lane.next += written.count();
    let mut slowest = Figures::default();
    for (copy, _) in &copies {
        lane.drain_to(copy, DRAIN_LIMIT).await?;
    }
    let numbered = numbered(lane, after).await?;
    for (_, consumer) in &copies {
        let figures = join(&written.ops, &numbered, &take_notes_of(consumer).await?)?;
        if figures.commit_to_applied.p95 >= slowest.commit_to_applied.p95 {
            let lost = slowest.lost;
            slowest = figures;
            slowest.lost += lost;
        } else {
            slowest.lost += figures.lost;
        }
    }
    slowest.offered = load.rate;
    for (_, consumer) in copies {
        consumer.stop().await?;
    }
    relay.stop().await?;
    Ok(slowest)
}
