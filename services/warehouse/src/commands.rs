//! One use case = one function = one transaction: lock, decide, and store the record with its
//! change.
//!
//! Locks are taken in one order everywhere: locations, stock, reservation; several of a kind in the
//! order of their names.

mod imports;
mod reservations;

pub(crate) use imports::{import_locations, import_stock};
pub(crate) use reservations::{end_reservation, expire, reserve};

use std::{collections::BTreeMap, pin::pin, task::Poll};

use contracts::Id;
use deadpool_postgres::ClientWrapper;
use futures::future::join;
use outbox::{Append, Tx};
use records::{Answer, Demands, Written, answered, finish};

use crate::{
    domain::{Delta, Level, Location, Quantity, Reason, Refusal, StockKey},
    error::Error,
    payload::{LOCATIONS, LocationPayload, STOCK, StockPayload},
    store::{self, Held, Opened},
};

/// How often rows that others create or delete meanwhile are asked for again.
const ATTEMPTS_MAX: usize = 5;

/// Creates or replaces a location.
pub(crate) async fn put_location(
    client: &ClientWrapper,
    location: &Location,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::save_location(&tx, location).await?;
    let payload = LocationPayload::from(location);
    let change = Append::upsert(LOCATIONS, location.id.as_str(), &payload)?;
    Ok(finish(tx, change, &before, Written::default(), demands).await?)
}

/// Deletes a location that has no stock.
pub(crate) async fn delete_location(
    client: &ClientWrapper,
    id: &Id,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::delete_location(&tx, id).await?;
    if !before.existed {
        return Err(unknown("location", id.to_string()));
    }
    let change = Append::delete(LOCATIONS, id.as_str());
    Ok(finish(tx, change, &before, Written::default(), demands).await?)
}

/// Sets what is on hand.
pub(crate) async fn put_stock(
    client: &ClientWrapper,
    key: &StockKey,
    on_hand: Quantity,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let held = hold(&tx, key).await?;
    let level = held.level.counted(on_hand).map_err(refused(key))?;
    let save = store::save_stock(client, key, level).await?;
    let name = key.name();
    let change = Append::upsert(STOCK, &name, &StockPayload::new(key, level))?;
    let written = Written { waits_for: held.waits_for, ..Written::default() };
    together(save, finish(tx, change, &held.before, written, demands)).await
}

/// Changes what is on hand by a difference; the first of it creates the stock.
pub(crate) async fn adjust_stock(
    client: &ClientWrapper,
    key: &StockKey,
    (delta, reason): (Delta, Option<&Reason>),
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let held = hold(&tx, key).await?;
    let level = held.level.adjusted(delta).map_err(refused(key))?;
    let save = store::save_adjustment(client, key, level, (delta, reason)).await?;
    let name = key.name();
    let change = Append::upsert(STOCK, &name, &StockPayload::new(key, level))?;
    let written = Written { status: Some(200), waits_for: held.waits_for };
    together(save, finish(tx, change, &held.before, written, demands)).await
}

/// Deletes stock of which nothing is reserved.
pub(crate) async fn delete_stock(
    client: &ClientWrapper,
    key: &StockKey,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let name = key.name();
    let held = store::lock_stock(&tx, key).await?;
    let (held, _) = held.ok_or_else(|| unknown("stock", name.clone()))?;
    let reserved = held.level.reserved();
    if reserved > 0 {
        return Err(Error::IsReserved { stock: key.clone(), reserved });
    }
    let delete = store::delete_stock(client, key).await?;
    let change = Append::delete(STOCK, &name);
    let written = Written { waits_for: held.waits_for, ..Written::default() };
    together(delete, finish(tx, change, &held.before, written, demands)).await
}

/// Takes the lock of this stock; where there is none yet, makes it, and its location as well.
async fn hold(tx: &Tx<'_>, key: &StockKey) -> Result<Held, Error> {
    let mut existed = true;
    for _ in 0..ATTEMPTS_MAX {
        if let Some((mut held, is_placed)) = store::lock_stock(tx, key).await? {
            held.before.existed = existed;
            if !is_placed {
                open_locations(tx, &[&key.location]).await?;
            }
            return Ok(held);
        }
        if open_locations(tx, &[&key.location]).await? {
            existed = store::open_stock(tx, [key]).await?.is_empty();
        }
    }
    Err(Error::Contended { stock: key.clone() })
}

/// Holds these locations and publishes those that nobody has published, be it that it had to create
/// them; false where one came or went meanwhile.
async fn open_locations(tx: &Tx<'_>, ids: &[&Id]) -> Result<bool, Error> {
    let Opened { unpublished, is_complete } = store::open_locations(tx, ids).await?;
    // Also of an attempt that is not the last: to the next one they are no longer new.
    for location in &unpublished {
        let payload = LocationPayload::from(location);
        tx.append(&Append::upsert(LOCATIONS, location.id.as_str(), &payload)?).await?;
    }
    Ok(is_complete)
}

/// Appends what is in stock at many places.
async fn append_levels(tx: &Tx<'_>, levels: &BTreeMap<StockKey, Level>) -> Result<(), Error> {
    let named: Vec<_> =
        levels.iter().map(|(key, level)| (key.name(), StockPayload::new(key, *level))).collect();
    let changes: Vec<_> = named.iter().map(|(name, payload)| (name.as_str(), payload)).collect();
    outbox::append_many(tx, STOCK, &changes).await?;
    Ok(())
}

/// Sends what stores a decision, and right behind it what publishes and commits it. Where the first
/// is refused, the database refuses the second too; where it could not even be sent, nothing may be
/// published.
async fn together(
    save: impl Future<Output = Result<(), Error>>,
    finish: impl Future<Output = Result<Answer, records::Error>>,
) -> Result<Answer, Error> {
    let mut save = pin!(save);
    // The first poll sends it, or fails before anything was sent.
    let (saved, answer) = match futures::poll!(save.as_mut()) {
        Poll::Ready(saved) => {
            saved?;
            (Ok(()), finish.await)
        }
        Poll::Pending => join(save, finish).await,
    };
    saved?;
    Ok(answer?)
}

fn refused(stock: &StockKey) -> impl FnOnce(Refusal) -> Error {
    let stock = stock.clone();
    |source| Error::Refused { stock, source }
}

fn unknown(what: &'static str, key: String) -> Error {
    records::Error::Unknown { what, key }.into()
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::ready};

    use super::*;

    #[tokio::test]
    async fn what_could_not_be_sent_is_not_published() {
        let published = Cell::new(false);
        let finish = async {
            published.set(true);
            Ok(Answer::default())
        };
        let closed = records::Error::from(outbox::Error::RolledBack);
        assert!(together(ready(Err(closed.into())), finish).await.is_err());
        assert!(!published.get());
    }

    #[tokio::test]
    async fn the_reason_is_what_failed_first() {
        let save = async {
            tokio::task::yield_now().await;
            Err(Error::HasStock { location: Id::parse("a").unwrap() })
        };
        let finish = ready(Err(outbox::Error::RolledBack.into()));
        let failed = together(save, finish).await.unwrap_err();
        assert!(matches!(failed, Error::HasStock { .. }), "{failed:?}");
    }
}
