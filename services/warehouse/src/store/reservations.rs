//! Reservations: one under its locks, and many that are due.

use std::time::Duration;

use contracts::Invalid;
use deadpool_postgres::ClientWrapper;
use outbox::Tx;
use tokio_postgres::Row;

use super::{Held, broken, held, key};
use crate::{
    domain::{Quantity, Reservation, State, StockKey},
    error::Error,
    payload::STOCK,
    reservation_id::ReservationId,
};

const LOCK_RESERVATION: &str = include_str!("../../queries/lock_reservation.sql");
const READ_RESERVATION: &str = include_str!("../../queries/read_reservation.sql");
const NEXT_DUE: &str = include_str!("../../queries/next_due.sql");
const LOCK_DUE: &str = include_str!("../../queries/lock_due.sql");
const EXPIRE_RESERVATIONS: &str = include_str!("../../queries/expire_reservations.sql");
const PRUNE_RESERVATIONS: &str = include_str!("../../queries/prune_reservations.sql");
const PRUNE_ADJUSTMENTS: &str = include_str!("../../queries/prune_adjustments.sql");

/// Takes the locks of a reservation and of its stock, which is none where the reservation has ended
/// and the stock was deleted since.
pub(crate) async fn lock_reservation(
    tx: &Tx<'_>,
    id: ReservationId,
) -> Result<Option<(Reservation, Option<Held>)>, Error> {
    let Some(row) = tx.query_opt(LOCK_RESERVATION, &[&id.get(), &STOCK]).await? else {
        return Ok(None);
    };
    let reservation = reservation(&row)?;
    let stock = row.try_get::<_, Option<i64>>("on_hand")?;
    let held = stock.map(|_| held(&row, reservation.stock.sku.as_str())).transpose()?;
    Ok(Some((reservation, held)))
}

/// A reservation as it is now.
pub(crate) async fn read_reservation(
    client: &ClientWrapper,
    id: ReservationId,
) -> Result<Option<Reservation>, Error> {
    let read = client.prepare_cached(READ_RESERVATION).await?;
    client.query_opt(&read, &[&id.get()]).await?.map(|row| reservation(&row)).transpose()
}

fn reservation(row: &Row) -> Result<Reservation, Error> {
    let state = State::parse(row.try_get("state")?)
        .ok_or_else(|| broken("state", Invalid::new("unknown", "is no state of a reservation")))?;
    let (quantity, expires_at) = (quantity(row)?, row.try_get("expires_at")?);
    Ok(Reservation { stock: key(row)?, quantity, expires_at, state })
}

fn quantity(row: &Row) -> Result<Quantity, Error> {
    let quantity = Quantity::some(row.try_get("quantity")?);
    quantity.map_err(|source| broken("quantity", source))
}

/// A reservation that ends soon.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) id: ReservationId,
    pub(crate) stock: StockKey,
    /// How long it still holds; zero if it is due.
    pub(crate) wait: Duration,
}

/// The open reservations that end first, in this order.
pub(crate) async fn next_due(client: &ClientWrapper, limit: i64) -> Result<Vec<Due>, Error> {
    let next = client.prepare_cached(NEXT_DUE).await?;
    let rows = client.query(&next, &[&limit]).await?;
    let due = rows.iter().map(|row| {
        let wait_ms: i64 = row.try_get("wait_ms")?;
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
        Ok(Due { id: row.try_get::<_, uuid::Uuid>("id")?.into(), stock: key(row)?, wait })
    });
    due.collect()
}

/// Those of these reservations that are still open and due; their stock is locked.
pub(crate) async fn lock_due(
    tx: &Tx<'_>,
    ids: &[ReservationId],
) -> Result<Vec<(ReservationId, StockKey, Quantity)>, Error> {
    let ids: Vec<_> = ids.iter().map(|id| id.get()).collect();
    let rows = tx.query(LOCK_DUE, &[&ids]).await?;
    let due = rows
        .iter()
        .map(|row| Ok((row.try_get::<_, uuid::Uuid>("id")?.into(), key(row)?, quantity(row)?)));
    due.collect()
}

/// Ends these reservations, all locked.
pub(crate) async fn expire(tx: &Tx<'_>, ids: &[ReservationId]) -> Result<(), Error> {
    let ids: Vec<_> = ids.iter().map(|id| id.get()).collect();
    tx.execute(EXPIRE_RESERVATIONS, &[&ids]).await?;
    Ok(())
}

/// Forgets some of what is older than it must be kept; says how much.
pub(crate) async fn prune(client: &ClientWrapper) -> Result<u64, Error> {
    let mut pruned = 0;
    for some in [PRUNE_RESERVATIONS, PRUNE_ADJUSTMENTS] {
        let statement = client.prepare_cached(some).await?;
        pruned += client.execute(&statement, &[]).await?;
    }
    Ok(pruned)
}
