//! What warehouse publishes: the full state of a record, as its contract file describes it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    domain::{Level, Location, Reservation, StockKey, Text},
    reservation_id::ReservationId,
};

/// Topic of stock.
pub(crate) const STOCK: &str = "warehouse.stock";
/// Topic of locations.
pub(crate) const LOCATIONS: &str = "warehouse.locations";

/// Stock as it travels.
#[derive(Debug, Serialize)]
pub(crate) struct StockPayload<'a> {
    sku: &'a str,
    location: &'a str,
    on_hand: i64,
    reserved: i64,
    available: i64,
}

impl<'a> StockPayload<'a> {
    pub(crate) fn new(key: &'a StockKey, level: Level) -> Self {
        Self {
            sku: key.sku.as_str(),
            location: key.location.as_str(),
            on_hand: level.on_hand(),
            reserved: level.reserved(),
            available: level.available(),
        }
    }
}

/// A location as it travels.
#[derive(Debug, Serialize)]
pub(crate) struct LocationPayload<'a> {
    id: &'a str,
    name: Option<&'a str>,
    city: Option<&'a str>,
    region: Option<&'a str>,
    postcode: Option<&'a str>,
}

impl<'a> From<&'a Location> for LocationPayload<'a> {
    fn from(location: &'a Location) -> Self {
        let text = |text: &'a Option<Text>| text.as_ref().map(Text::as_str);
        Self {
            id: location.id.as_str(),
            name: text(&location.name),
            city: text(&location.city),
            region: text(&location.region),
            postcode: text(&location.postcode),
        }
    }
}

/// A reservation as it is answered; nobody hears of one otherwise.
#[derive(Debug, Serialize)]
pub(crate) struct ReservationAnswer<'a> {
    id: String,
    sku: &'a str,
    location: &'a str,
    quantity: i64,
    expires_at: DateTime<Utc>,
    state: &'static str,
}

impl<'a> ReservationAnswer<'a> {
    pub(crate) fn new(id: ReservationId, reservation: &'a Reservation) -> Self {
        Self {
            id: id.to_string(),
            sku: reservation.stock.sku.as_str(),
            location: reservation.stock.location.as_str(),
            quantity: reservation.quantity.get(),
            expires_at: reservation.expires_at,
            state: reservation.state.as_str(),
        }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }
}
