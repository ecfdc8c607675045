//! Many rows in one statement.

use std::collections::{BTreeMap, BTreeSet};

use outbox::Tx;
use records::Reference;
use tokio_postgres::{Row, types::Json};

use super::{columns, key, level};
use crate::{
    domain::{Level, Quantity, StockKey},
    error::Error,
    payload::{LOCATIONS, LocationPayload},
};

const FIND_EQUAL: &str = include_str!("../../queries/find_equal.sql");
const LOCK_STOCKS: &str = include_str!("../../queries/lock_stocks.sql");
const LOCK_FREE_STOCKS: &str = include_str!("../../queries/lock_free_stocks.sql");
const SAVE_STOCKS: &str = include_str!("../../queries/save_stocks.sql");
const IMPORT_LOCATIONS: &str = include_str!("../../queries/import_locations.sql");

/// Stock whose lock this transaction has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Locked {
    pub(crate) level: Level,
    /// Whether its product is known here.
    pub(crate) reference: Reference,
}

/// Which of these counts hold already, without any lock.
pub(crate) async fn find_equal(
    tx: &Tx<'_>,
    counts: &[(StockKey, Quantity)],
) -> Result<BTreeMap<StockKey, Reference>, Error> {
    let (skus, locations) = columns(counts.iter().map(|(key, _)| key));
    let on_hand: Vec<i64> = counts.iter().map(|(_, on_hand)| on_hand.get()).collect();
    let rows = tx.query(FIND_EQUAL, &[&skus, &locations, &on_hand]).await?;
    rows.iter().map(|row| Ok((key(row)?, reference(row)?))).collect()
}

/// Takes the locks of this stock in order; what does not exist is left out.
pub(crate) async fn lock_stocks<'a>(
    tx: &Tx<'_>,
    keys: impl IntoIterator<Item = &'a StockKey>,
) -> Result<BTreeMap<StockKey, Locked>, Error> {
    let (skus, locations) = columns(keys);
    locked(&tx.query(LOCK_STOCKS, &[&skus, &locations]).await?)
}

/// Takes the locks of this stock where nobody else has them; leaves out the rest.
pub(crate) async fn lock_free_stocks<'a>(
    tx: &Tx<'_>,
    keys: impl IntoIterator<Item = &'a StockKey>,
) -> Result<BTreeMap<StockKey, Locked>, Error> {
    let (skus, locations) = columns(keys);
    locked(&tx.query(LOCK_FREE_STOCKS, &[&skus, &locations]).await?)
}

fn locked(rows: &[Row]) -> Result<BTreeMap<StockKey, Locked>, Error> {
    let locked = rows.iter().map(|row| {
        let (level, reference) = (level(row)?, reference(row)?);
        Ok((key(row)?, Locked { level, reference }))
    });
    locked.collect()
}

/// Stores what is in stock at many places, all locked.
pub(crate) async fn save_stocks(
    tx: &Tx<'_>,
    levels: &BTreeMap<StockKey, Level>,
) -> Result<(), Error> {
    let (skus, locations) = columns(levels.keys());
    let on_hand: Vec<i64> = levels.values().map(|level| level.on_hand()).collect();
    let reserved: Vec<i64> = levels.values().map(|level| level.reserved()).collect();
    tx.execute(SAVE_STOCKS, &[&skus, &locations, &on_hand, &reserved]).await?;
    Ok(())
}

/// Stores those of these locations that are not equal already; answers their ids.
pub(crate) async fn import_locations(
    tx: &Tx<'_>,
    locations: &[LocationPayload<'_>],
) -> Result<BTreeSet<String>, Error> {
    let rows = tx.query(IMPORT_LOCATIONS, &[&Json(locations), &LOCATIONS]).await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

fn reference(row: &Row) -> Result<Reference, Error> {
    let known: bool = row.try_get("known")?;
    Ok(if known { Reference::Known } else { Reference::Awaited })
}
