//! From a promise of stock to its end; each ends once, whoever comes first.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::ClientWrapper;
use outbox::{Append, Tx};
use records::{Answer, Demands, Written, answered, conclude, expecting, finish};

use super::{append_levels, refused, together, unknown};
use crate::{
    domain::{Ending, Level, Lifetime, Quantity, Reservation, State, StockKey},
    error::Error,
    payload::{ReservationAnswer, STOCK, StockPayload},
    reservation_id::ReservationId,
    store::{self, Due, Locked},
};

/// Promises some stock to somebody for a while.
pub(crate) async fn reserve(
    client: &ClientWrapper,
    key: StockKey,
    (quantity, lifetime): (Quantity, Lifetime),
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let held = store::lock_stock(&tx, &key).await?.map(|(held, _)| held);
    // Where there is no stock, none is available.
    let level = held.as_ref().map_or_else(Level::default, |held| held.level);
    let level = level.reserve(quantity).map_err(refused(&key))?;
    let held = held.ok_or_else(|| unknown("stock", key.name()))?;
    let (id, expires_at) = (ReservationId::make(), lifetime.from(held.at));
    let reservation = Reservation { stock: key, quantity, expires_at, state: State::Open };
    let answer = Answer {
        status: 201,
        location: Some(format!("/api/v1/reservations/{id}")),
        waits_for: held.waits_for,
        body: Some(ReservationAnswer::new(id, &reservation).to_json()),
        ..Answer::default()
    };
    let save = store::save_reservation(client, id, &reservation, level).await?;
    let name = reservation.stock.name();
    let change = Append::upsert(STOCK, &name, &StockPayload::new(&reservation.stock, level))?;
    let change = expecting(change, &held.before, demands)?;
    together(save, answer_otherwise(tx, change, answer, demands)).await
}

/// Ends a reservation as its holder wants, if it still holds.
pub(crate) async fn end_reservation(
    client: &ClientWrapper,
    id: ReservationId,
    ending: Ending,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let locked = store::lock_reservation(&tx, id).await?;
    let (reservation, held) = locked.ok_or_else(|| unknown("reservation", id.to_string()))?;
    let key = &reservation.stock;
    // Without stock it has ended: stock with an open reservation cannot be deleted.
    let (level, at) = match &held {
        Some(held) => (held.level, held.at),
        None => (Level::default(), reservation.expires_at),
    };
    let level = reservation.end(level, ending, at).map_err(|ended| Error::Ended { id, ended })?;
    let held = held.ok_or_else(|| unknown("stock", key.name()))?;
    let save = store::end_reservation(client, id, ending.state(), (key, level)).await?;
    let name = key.name();
    let change = Append::upsert(STOCK, &name, &StockPayload::new(key, level))?;
    match ending {
        Ending::Fulfil => {
            let written = Written { status: Some(200), waits_for: held.waits_for };
            together(save, finish(tx, change, &held.before, written, demands)).await
        }
        Ending::Release => {
            let change = expecting(change, &held.before, demands)?;
            let answer = Answer { status: 204, ..Answer::default() };
            together(save, answer_otherwise(tx, change, answer, demands)).await
        }
    }
}

/// Appends and commits a change whose answer does not show the record.
async fn answer_otherwise(
    tx: Tx<'_>,
    change: Append<'_>,
    answer: Answer,
    demands: &Demands,
) -> Result<Answer, records::Error> {
    if demands.once.is_none() {
        tx.append_and_commit(&change).await?;
        return Ok(answer);
    }
    tx.append(&change).await?;
    conclude(tx, answer, demands).await
}

/// Takes back the stock of those of these reservations that are still open and due, and leaves
/// those for later whose stock another one is writing; says how many.
pub(crate) async fn expire(client: &ClientWrapper, due: &[Due]) -> Result<usize, Error> {
    let tx = Tx::begin(client);
    let keys: BTreeSet<_> = due.iter().map(|due| &due.stock).collect();
    let locked = store::lock_free_stocks(&tx, keys).await?;
    let mine = due.iter().filter(|due| locked.contains_key(&due.stock));
    let ids: Vec<_> = mine.map(|due| due.id).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let still = store::lock_due(&tx, &ids).await?;
    if still.is_empty() {
        return Ok(0);
    }
    let mut levels = BTreeMap::new();
    for (_, key, quantity) in &still {
        if let Some(Locked { level, .. }) = locked.get(key) {
            let level = levels.entry(key.clone()).or_insert(*level);
            *level = level.release(*quantity);
        }
    }
    store::save_stocks(&tx, &levels).await?;
    let ids: Vec<_> = still.iter().map(|(id, ..)| *id).collect();
    store::expire(&tx, &ids).await?;
    append_levels(&tx, &levels).await?;
    tx.commit().await?;
    Ok(still.len())
}
