//! One round of one lane: fresh databases, its parts started, its scenarios one after another.

use crate::figures::{Figures, Lane, Limit};
use crate::lane::{Running, Syncline};
use crate::limit;
use crate::place::Place;
use crate::plain_lane::Plain;
use crate::plan::{Item, Kind, Plan};
use crate::rounds::Rounds;
use crate::scenario::{self, Load};

/// The rate of scenarios that do not name one.
const USUAL: f64 = 1_000.0;

/// Syncline in one of its lanes.
pub async fn syncline(
    place: &Place,
    plan: &Plan,
    (lane, items): (Lane, &[Item]),
    rounds: &mut Rounds,
) -> anyhow::Result<()> {
    let limit = Some(limits(place, plan).await?);
    let mut session = Session { syncline: Syncline::create(place, lane).await?, clean_p95: 0.0 };
    let mut running = session.syncline.start().await?;
    let products = Kind::Import(plan.products);
    let imported = scenario::import(&mut session.syncline, &mut running, plan.products);
    if items.iter().any(|item| item.kind == products) {
        rounds.watch((products.name(), lane), limit, imported).await?;
    } else {
        imported.await?;
    }
    session.syncline.settle().await?;
    let (alone, beside): (Vec<&Item>, Vec<&Item>) = items
        .iter()
        .filter(|item| !matches!(item.kind, Kind::Import(_)))
        .partition(|item| is_without_consumer(item.kind));
    for item in beside {
        let work = Box::pin(session.beside(&mut running, item.kind));
        rounds.watch((item.kind.name(), lane), limit, work).await?;
    }
    running.stop().await?;
    for item in alone {
        let work = Box::pin(session.alone(item.kind));
        rounds.watch((item.kind.name(), lane), limit, work).await?;
    }
    Ok(())
}

/// The plain app.
pub async fn plain(
    place: &Place,
    plan: &Plan,
    items: &[Item],
    rounds: &mut Rounds,
) -> anyhow::Result<()> {
    let limit = Some(limits(place, plan).await?);
    let mut plain = Plain::start(place, plan.products).await?;
    for item in items {
        let load = match item.kind {
            Kind::Steady(rate, seconds) => Load { rate, seconds, seed: seed(rate) },
            Kind::Flood(seconds) => Load { rate: 0.0, seconds: (1.0, seconds), seed: seed(0.0) },
            _ => anyhow::bail!("the plain app has no {}", item.kind.name()),
        };
        let work = plain.load(&load);
        rounds.watch((item.kind.name(), Lane::PlainDapr), limit, work).await?;
    }
    plain.stop().await
}

async fn limits(place: &Place, plan: &Plan) -> anyhow::Result<Limit> {
    limit::measure(&limit::Place {
        database_url: place.database_url.clone(),
        redis_url: place.redis_url.clone(),
        probe: plan.probe,
    })
    .await
}

/// Scenarios that start what they need themselves.
fn is_without_consumer(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Idle(_)
            | Kind::Overhead(..)
            | Kind::Search(_)
            | Kind::Growth(..)
            | Kind::Consumers(..)
    )
}

/// The same for every lane and round, so that all are asked for the same.
fn seed(rate: f64) -> u64 {
    rate.to_bits() ^ 0x5eed_0001
}

/// A lane with its data, and what a later scenario compares itself with.
struct Session {
    syncline: Syncline,
    clean_p95: f64,
}

impl Session {
    /// A scenario of relay and consumer.
    async fn beside(&mut self, running: &mut Running, kind: Kind) -> anyhow::Result<Figures> {
        let lane = &mut self.syncline;
        match kind {
            Kind::Steady(rate, seconds) => {
                let load = Load { rate, seconds, seed: seed(rate) };
                let figures = scenario::load(lane, running, &load).await?;
                if (rate - USUAL).abs() < 1.0 {
                    self.clean_p95 = figures.commit_to_applied.p95;
                }
                Ok(figures)
            }
            Kind::Flood(seconds) => {
                let load = Load { rate: 0.0, seconds: (1.0, seconds), seed: seed(0.0) };
                scenario::load(lane, running, &load).await
            }
            Kind::Held(seconds) => {
                let load = Load { rate: USUAL, seconds: (1.0, seconds), seed: seed(2.0) };
                scenario::held(lane, running, &load, self.clean_p95).await
            }
            Kind::Outage(seconds) => {
                let load = Load { rate: USUAL, seconds: (0.0, seconds), seed: seed(3.0) };
                scenario::outage(lane, running, &load).await
            }
            Kind::Critical(seconds) => {
                let flood = Load { rate: 0.0, seconds: (0.0, seconds), seed: seed(4.0) };
                scenario::critical(lane, running, &flood).await
            }
            Kind::Rot(seconds) => {
                let load = Load { rate: USUAL, seconds: (1.0, seconds), seed: seed(7.0) };
                scenario::held(lane, running, &load, self.clean_p95).await
            }
            Kind::Kills(rate, seconds) => {
                let load = Load { rate, seconds: (0.0, seconds), seed: seed(8.0) };
                scenario::kills(lane, running, &load).await
            }
            _ => anyhow::bail!("{} needs no consumer", kind.name()),
        }
    }

    /// A scenario that starts its own parts.
    async fn alone(&mut self, kind: Kind) -> anyhow::Result<Figures> {
        let lane = &mut self.syncline;
        match kind {
            Kind::Idle(seconds) => scenario::idle(lane, seconds).await,
            Kind::Overhead(seconds, turns) => {
                let steady = Load { rate: USUAL, seconds: (1.0, seconds), seed: seed(5.0) };
                let flood = Load { rate: 0.0, ..steady };
                scenario::overhead(lane, (&steady, &flood), turns).await
            }
            Kind::Search(seconds) => {
                let load = Load { rate: USUAL, seconds: (0.0, seconds), seed: seed(6.0) };
                scenario::found(lane, &load).await
            }
            Kind::Growth(products, seconds) => {
                let mut grown = Syncline::create(lane.place(), lane.lane).await?;
                let mut running = grown.start().await?;
                let imported = scenario::import(&mut grown, &mut running, products).await?;
                let load = Load { rate: USUAL, seconds: (3.0, seconds), seed: seed(9.0) };
                let mut figures = scenario::load(&mut grown, &mut running, &load).await?;
                figures.others.extend(imported.others);
                running.stop().await?;
                Ok(figures)
            }
            Kind::Consumers(count, seconds) => {
                let load = Load { rate: USUAL, seconds: (3.0, seconds), seed: seed(10.0) };
                scenario::many(lane, count, &load).await
            }
            _ => anyhow::bail!("{} needs a consumer", kind.name()),
        }
    }
}
