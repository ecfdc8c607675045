//! Rows to domain and back; the only files that run SQL are this one and those below it.

mod changes;
mod imports;
mod reservations;

pub(crate) use changes::{
    delete_stock, end_reservation, save_adjustment, save_reservation, save_stock,
};
pub(crate) use imports::{
    Locked, find_equal, import_locations, lock_free_stocks, lock_stocks, save_stocks,
};
pub(crate) use reservations::{
    Due, expire, lock_due, lock_reservation, next_due, prune, read_reservation,
};

use chrono::{DateTime, Utc};
use contracts::{Id, Invalid};
use deadpool_postgres::ClientWrapper;
use inbox::Transaction;
use outbox::Tx;
use records::{Before, Published};
use service_kit::Etag;
use tokio_postgres::{Row, error::SqlState};

use crate::{
    domain::{Level, Location, StockKey, Text},
    error::Error,
    payload::{LOCATIONS, STOCK},
};

const LOCK_STOCK: &str = include_str!("../queries/lock_stock.sql");
const OPEN_LOCATIONS: &str = include_str!("../queries/open_locations.sql");
const LOCK_LOCATIONS: &str = include_str!("../queries/lock_locations.sql");
const OPEN_STOCK: &str = include_str!("../queries/open_stock.sql");
const READ_STOCK: &str = include_str!("../queries/read_stock.sql");
const LIST_STOCK: &str = include_str!("../queries/list_stock.sql");
const SAVE_LOCATION: &str = include_str!("../queries/save_location.sql");
const DELETE_LOCATION: &str = include_str!("../queries/delete_location.sql");
const WRITE_PRODUCTS: &str = include_str!("../queries/write_products.sql");

/// Stock whose lock this transaction has.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) level: Level,
    /// The database's time, after the lock was taken.
    pub(crate) at: DateTime<Utc>,
    pub(crate) before: Before,
    /// The product that it waits for, where that is not known here.
    pub(crate) waits_for: Option<String>,
}

/// Takes the lock of this stock, where there is any; answers too whether its location is published.
pub(crate) async fn lock_stock(tx: &Tx<'_>, key: &StockKey) -> Result<Option<(Held, bool)>, Error> {
    let (sku, location) = parts(key);
    let row = tx.query_opt(LOCK_STOCK, &[&sku, &location, &STOCK, &LOCATIONS]).await?;
    row.map(|row| Ok((held(&row, sku)?, row.try_get("placed")?))).transpose()
}

fn held(row: &Row, sku: &str) -> Result<Held, Error> {
    let (version, digest): (Option<i64>, Option<&str>) =
        (row.try_get("version")?, row.try_get("digest")?);
    let published = version.zip(digest).map(|(version, digest)| Etag::new(version, digest));
    Ok(Held {
        level: level(row)?,
        at: row.try_get("at")?,
        before: Before { existed: true, published },
        waits_for: waits_for(row, sku)?,
    })
}

/// The product, where column `known` says that it is not known here.
fn waits_for(row: &Row, sku: &str) -> Result<Option<String>, Error> {
    let known: bool = row.try_get("known")?;
    Ok((!known).then(|| format!("catalog.products/{sku}")))
}

fn level(row: &Row) -> Result<Level, Error> {
    Ok(Level::stored(row.try_get("on_hand")?, row.try_get("reserved")?))
}

fn key(row: &Row) -> Result<StockKey, Error> {
    Ok(StockKey { sku: id(row, "sku")?, location: id(row, "location")? })
}

fn id(row: &Row, column: &'static str) -> Result<Id, Error> {
    Id::parse(row.try_get(column)?).map_err(|source| broken(column, source))
}

/// A row that does not satisfy the rules under which it was stored.
fn broken(column: &'static str, source: Invalid) -> Error {
    records::Error::Stored { column, source }.into()
}

fn parts(key: &StockKey) -> (&str, &str) {
    (key.sku.as_str(), key.location.as_str())
}

/// Columns of the two parts of these keys.
fn columns<'a>(keys: impl IntoIterator<Item = &'a StockKey>) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.into_iter().map(parts).unzip()
}

/// Locations that this transaction holds.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Those of them that nobody has published yet, as they are to be published.
    pub(crate) unpublished: Vec<Location>,
    /// Not where one came or went meanwhile: then it must be asked again.
    pub(crate) is_complete: bool,
}

/// Creates those of these locations that are unknown and holds the others.
pub(crate) async fn open_locations(tx: &Tx<'_>, ids: &[&Id]) -> Result<Opened, Error> {
    let names: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
    let rows = tx.query(OPEN_LOCATIONS, &[&names, &LOCATIONS]).await?;
    let (mut unpublished, mut left) = (Vec::new(), Vec::new());
    for row in &rows {
        if row.try_get("created")? {
            unpublished.push(Location::unknown(id(row, "id")?));
        } else if !row.try_get("published")? {
            left.push(row.try_get::<_, &str>("id")?);
        }
    }
    if !left.is_empty() {
        unpublished.extend(lock_locations(tx, &left).await?);
    }
    Ok(Opened { unpublished, is_complete: rows.len() == names.len() })
}

async fn lock_locations(tx: &Tx<'_>, ids: &[&str]) -> Result<Vec<Location>, Error> {
    let rows = tx.query(LOCK_LOCATIONS, &[&ids]).await?;
    rows.iter().map(location).collect()
}

fn location(row: &Row) -> Result<Location, Error> {
    let text = |column: &'static str| {
        let raw: Option<&str> = row.try_get(column)?;
        raw.map(Text::parse).transpose().map_err(|source| broken(column, source))
    };
    let (name, city) = (text("name")?, text("city")?);
    let (region, postcode) = (text("region")?, text("postcode")?);
    Ok(Location { id: id(row, "id")?, name, city, region, postcode })
}

/// Makes rows for those of these keys that have none, and answers their keys.
pub(crate) async fn open_stock<'a>(
    tx: &Tx<'_>,
    keys: impl IntoIterator<Item = &'a StockKey>,
) -> Result<Vec<StockKey>, Error> {
    let (skus, locations) = columns(keys);
    tx.query(OPEN_STOCK, &[&skus, &locations]).await?.iter().map(key).collect()
}

/// The published state of stock, with what it waits for.
pub(crate) async fn read_stock(
    client: &ClientWrapper,
    key: &StockKey,
) -> Result<Option<Published>, Error> {
    let read = client.prepare_cached(READ_STOCK).await?;
    let sku = key.sku.as_str();
    let Some(row) = client.query_opt(&read, &[&STOCK, &key.name(), &sku]).await? else {
        return Ok(None);
    };
    let waits_for = waits_for(&row, sku)?;
    Ok(Some(Published::of(&row)?.waiting(waits_for)))
}

/// The stock of a product at one of its locations.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) location: Id,
    pub(crate) level: Level,
    pub(crate) version: i64,
}

/// The stock of a product at all its locations in order, with what it waits for.
pub(crate) async fn list_stock(
    client: &ClientWrapper,
    sku: &Id,
) -> Result<(Vec<Listed>, Option<String>), Error> {
    let list = client.prepare_cached(LIST_STOCK).await?;
    let mut listed = Vec::new();
    let mut waiting = None;
    for row in client.query(&list, &[&sku.as_str(), &STOCK]).await? {
        waiting = waits_for(&row, sku.as_str())?;
        let (location, version) = (id(&row, "location")?, row.try_get("version")?);
        listed.push(Listed { location, level: level(&row)?, version });
    }
    Ok((listed, waiting))
}

/// Creates or replaces a location.
pub(crate) async fn save_location(tx: &Tx<'_>, location: &Location) -> Result<Before, Error> {
    let text = |text: &'_ Option<Text>| text.as_ref().map(|text| text.as_str().to_owned());
    let (name, city) = (text(&location.name), text(&location.city));
    let (region, postcode) = (text(&location.region), text(&location.postcode));
    let id = location.id.as_str();
    let row =
        tx.query_one(SAVE_LOCATION, &[&id, &name, &city, &region, &postcode, &LOCATIONS]).await?;
    Ok(Before::of(&row)?)
}

/// Deletes a location that has no stock.
pub(crate) async fn delete_location(tx: &Tx<'_>, id: &Id) -> Result<Before, Error> {
    match tx.query_one(DELETE_LOCATION, &[&id.as_str(), &LOCATIONS]).await {
        Ok(row) => Ok(Before::of(&row)?),
        Err(error) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => {
            Err(Error::HasStock { location: id.clone() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Notes which of these products there are.
pub(crate) async fn write_products(
    tx: &Transaction<'_>,
    changes: &[(&str, bool)],
) -> Result<(), tokio_postgres::Error> {
    let (skus, there): (Vec<&str>, Vec<bool>) = changes.iter().copied().unzip();
    let write = tx.prepare_cached(WRITE_PRODUCTS).await?;
    tx.execute(&write, &[&skus, &there]).await?;
    Ok(())
}
