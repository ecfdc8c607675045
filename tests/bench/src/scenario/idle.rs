//! What a relay costs: while nothing happens, and while a source writes.

use std::time::Duration;

use tokio::time::sleep;

use super::load::{Load, write};
use crate::figures::{Figures, Latency};
use crate::lane::Syncline;
use crate::measure::Spread;
use crate::meter::Meter;
use crate::ops::Op;

/// Lets a relay without consumers run beside a source that rests.
pub async fn idle(lane: &Syncline, seconds: f64) -> anyhow::Result<Figures> {
    let relay = lane.relay().await?;
    sleep(Duration::from_secs(1)).await; // it has taken over
    let mut pids: Vec<_> = relay.process.pid().map(|pid| ("relay", pid)).into_iter().collect();
    let sidecar = relay.sidecar.as_ref().and_then(|sidecar| sidecar.process.pid());
    pids.extend(sidecar.map(|pid| ("relay-daprd", pid)));
    let meter = Meter::start(lane.place(), lane.databases(), pids).await?;
    sleep(Duration::from_secs_f64(seconds)).await;
    let mut figures = Figures { changes: 1, ..Figures::default() };
    meter.stop().await?.add(&mut figures);
    relay.stop().await?;
    let share = |name: &str| figures.cpu_us.get(name).map_or(0.0, |us| us / 1e6 / seconds);
    let shares = [("cpu_share", share("relay")), ("postgres_cpu_share", share("postgres"))];
    // A server that does not count its statements had no fewer of them.
    let queries = figures.per_change.get("statements").map(|count| count / seconds);
    // Nothing changed, so there is nothing to divide by.
    figures = Figures { memory_mib: figures.memory_mib, ..Figures::default() };
    figures.others.extend(shares.map(|(name, share)| (name.to_owned(), share)));
    figures.others.extend(queries.map(|queries| ("queries_per_s".to_owned(), queries)));
    Ok(figures)
}

/// Compares a source that writes beside a relay with one that writes alone: turn and turn about,
/// so that both meet the same machine.
pub async fn overhead(
    lane: &mut Syncline,
    (steady, flood): (&Load, &Load),
    turns: u32,
) -> anyhow::Result<Figures> {
    let (mut alone, mut beside) = (Side::default(), Side::default());
    for turn in 0..turns {
        for attached in [turn % 2 == 0, turn % 2 != 0] {
            let relay = if attached { Some(lane.relay().await?) } else { None };
            let side = if attached { &mut beside } else { &mut alone };
            side.writes.extend(write(lane, steady).await?);
            let began = write(lane, flood).await?;
            side.rates.push(rate(&began));
            if let Some(relay) = relay {
                relay.stop().await?;
            }
        }
    }
    let (alone, beside) = (alone.sum(), beside.sum());
    let mut figures = Figures { offered: steady.rate, ..Figures::default() };
    figures.steps.extend([("write_alone".to_owned(), alone.0), ("write".to_owned(), beside.0)]);
    let others = &mut figures.others;
    others.insert("overhead_p50".to_owned(), beside.0.p50 / alone.0.p50 - 1.0);
    others.insert("overhead_rate".to_owned(), 1.0 - beside.1 / alone.1);
    others.insert("written_per_s".to_owned(), beside.1);
    others.insert("written_alone_per_s".to_owned(), alone.1);
    Ok(figures)
}

/// What a source did in all its turns.
#[derive(Debug, Default)]
struct Side {
    writes: Vec<Op>,
    rates: Vec<f64>,
}

impl Side {
    /// How long its writes took, and the median of its rates.
    fn sum(mut self) -> (Latency, f64) {
        let mut spread = Spread::default();
        for op in &self.writes {
            // A write of more than a histogram holds would have failed long before.
            let _ = spread.note(op.began, op.answered);
        }
        self.rates.sort_by(f64::total_cmp);
        (spread.latency(), self.rates.get(self.rates.len() / 2).copied().unwrap_or_default())
    }
}

/// Changes per second between the first and the last answer.
fn rate(ops: &[Op]) -> f64 {
    let first = ops.iter().map(|op| op.began).min();
    let last = ops.iter().map(|op| op.answered).max();
    let took = last.zip(first).map_or(0.0, |(last, first)| last.since(first).as_secs_f64());
    u32::try_from(ops.len()).map_or(0.0, f64::from) / took.max(f64::MIN_POSITIVE)
}
