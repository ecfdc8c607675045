//! A writing transaction that is left open beside a load, as a forgotten session or a long report
//! leaves it.

use super::load::{Load, load as run_load};
use crate::figures::Figures;
use crate::lane::{Running, Syncline};

const HOLD: &str = include_str!("../../queries/hold.sql");
const SLOTS: &str = include_str!("../../queries/slots.sql");

/// Runs a load while a transaction is held that has written; `clean_p95` is that of the same load
/// without it, in milliseconds.
pub async fn held(
    lane: &mut Syncline,
    running: &mut Running,
    load: &Load,
    clean_p95: f64,
) -> anyhow::Result<Figures> {
    let mut holder = lane.source.connect().await?;
    let held = holder.transaction().await?;
    held.query_one(HOLD, &[]).await?;
    let mut figures = run_load(lane, running, load).await?;
    held.rollback().await?;
    let others = &mut figures.others;
    if clean_p95 > 0.0 {
        let ratio = figures.commit_to_applied.p95 / clean_p95;
        others.insert("clean_p95_ratio".to_owned(), ratio);
    }
    let written = others.get("written_per_s").copied().unwrap_or(load.rate);
    others.insert("held_rate".to_owned(), figures.applied / written.max(1.0));
    let row = lane.source.connect().await?.query_one(SLOTS, &[]).await?;
    others.insert("slot_mib".to_owned(), row.try_get("mib")?);
    Ok(figures)
}
