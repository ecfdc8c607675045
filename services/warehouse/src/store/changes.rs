//! Statements that store a decision. Each is made ready first and then sent just before the append
//! that follows from it, without a wait in between: lock, change and commit cost two round trips.
//!
//! Their transaction has begun when its lock was taken; what fails here fails the append as well.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;

use super::parts;
use crate::{
    domain::{Delta, Level, Reason, Reservation, State, StockKey},
    error::Error,
    reservation_id::ReservationId,
};

const SAVE_STOCK: &str = include_str!("../../queries/save_stock.sql");
const SAVE_ADJUSTMENT: &str = include_str!("../../queries/save_adjustment.sql");
const SAVE_RESERVATION: &str = include_str!("../../queries/save_reservation.sql");
const END_RESERVATION: &str = include_str!("../../queries/end_reservation.sql");
const DELETE_STOCK: &str = include_str!("../../queries/delete_stock.sql");

/// Stores what is in stock.
pub(crate) async fn save_stock(
    client: &ClientWrapper,
    key: &StockKey,
    level: Level,
) -> Result<impl Future<Output = Result<(), Error>>, Error> {
    let save = client.prepare_cached(SAVE_STOCK).await?;
    let (sku, location) = parts(key);
    Ok(async move {
        let (on_hand, reserved) = (level.on_hand(), level.reserved());
        client.execute(&save, &[&sku, &location, &on_hand, &reserved]).await?;
        Ok(())
    })
}

/// Stores what is in stock, and why it changed.
pub(crate) async fn save_adjustment(
    client: &ClientWrapper,
    key: &StockKey,
    level: Level,
    (delta, reason): (Delta, Option<&Reason>),
) -> Result<impl Future<Output = Result<(), Error>>, Error> {
    let save = client.prepare_cached(SAVE_ADJUSTMENT).await?;
    let (sku, location) = parts(key);
    Ok(async move {
        let (delta, reason) = (delta.get(), reason.map(Reason::as_str));
        let (on_hand, reserved) = (level.on_hand(), level.reserved());
        let row: [&(dyn ToSql + Sync); 6] = [&sku, &location, &on_hand, &reserved, &delta, &reason];
        client.execute(&save, &row).await?;
        Ok(())
    })
}

/// Stores a new reservation and what it leaves in stock.
pub(crate) async fn save_reservation(
    client: &ClientWrapper,
    id: ReservationId,
    reservation: &Reservation,
    level: Level,
) -> Result<impl Future<Output = Result<(), Error>>, Error> {
    let save = client.prepare_cached(SAVE_RESERVATION).await?;
    let (sku, location) = parts(&reservation.stock);
    let (quantity, expires_at) = (reservation.quantity.get(), reservation.expires_at);
    Ok(async move {
        let (id, on_hand, reserved) = (id.get(), level.on_hand(), level.reserved());
        let row: [&(dyn ToSql + Sync); 7] =
            [&sku, &location, &on_hand, &reserved, &id, &quantity, &expires_at];
        client.execute(&save, &row).await?;
        Ok(())
    })
}

/// Stores how a reservation of this stock ended and what that leaves.
pub(crate) async fn end_reservation(
    client: &ClientWrapper,
    id: ReservationId,
    state: State,
    (key, level): (&StockKey, Level),
) -> Result<impl Future<Output = Result<(), Error>>, Error> {
    let end = client.prepare_cached(END_RESERVATION).await?;
    let (sku, location) = parts(key);
    Ok(async move {
        let (id, on_hand, reserved) = (id.get(), level.on_hand(), level.reserved());
        let row: [&(dyn ToSql + Sync); 6] =
            [&sku, &location, &on_hand, &reserved, &id, &state.as_str()];
        client.execute(&end, &row).await?;
        Ok(())
    })
}

/// Deletes stock.
pub(crate) async fn delete_stock(
    client: &ClientWrapper,
    key: &StockKey,
) -> Result<impl Future<Output = Result<(), Error>>, Error> {
    let delete = client.prepare_cached(DELETE_STOCK).await?;
    let (sku, location) = parts(key);
    Ok(async move {
        client.execute(&delete, &[&sku, &location]).await?;
        Ok(())
    })
}
