//! Bodies of requests: what may stand in them, and the way to the domain.

use contracts::Id;
use records::{check_id, named, same};
use serde::Deserialize;
use service_kit::{Problem, broken};
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use crate::domain::{Delta, Lifetime, Location, Quantity, Reason, StockKey, Text};

/// A count of stock
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Count)]
pub(super) struct CountBody {
    /// The same as in the path, or left out; a line of an import must have it
    #[validate(custom(function = "check_id"))]
    sku: Option<String>,
    /// The same as in the path, or left out; a line of an import must have it
    #[validate(custom(function = "check_id"))]
    location: Option<String>,
    /// Pieces on hand, what is reserved among them
    #[validate(custom(function = "check_quantity"))]
    #[schema(minimum = 0, maximum = 2_147_483_648_u64)]
    on_hand: i64,
}

/// A change of stock by a difference
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Adjustment)]
pub(super) struct AdjustmentBody {
    /// Pieces that came, or, below 0, that went
    #[validate(custom(function = "check_delta"))]
    #[schema(minimum = -2_147_483_648_i64, maximum = 2_147_483_648_u64)]
    delta: i64,
    /// Why, in 1 to 128 characters, for example `sale`; kept for thirty days
    #[validate(custom(function = "check_reason"))]
    reason: Option<String>,
}

/// A location; all of it may be unknown
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Location)]
pub(super) struct LocationBody {
    /// The same as in the path, or left out; a line of an import must have it
    #[validate(custom(function = "check_id"))]
    id: Option<String>,
    /// What people call it, 1 to 512 characters
    #[validate(custom(function = "check_text"))]
    name: Option<String>,
    /// 1 to 512 characters
    #[validate(custom(function = "check_text"))]
    city: Option<String>,
    /// 1 to 512 characters
    #[validate(custom(function = "check_text"))]
    region: Option<String>,
    /// 1 to 512 characters
    #[validate(custom(function = "check_text"))]
    postcode: Option<String>,
}

/// What is to be reserved
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Wanted)]
pub(super) struct WantedBody {
    /// The product
    #[validate(custom(function = "check_id"))]
    sku: String,
    /// Where it lies
    #[validate(custom(function = "check_id"))]
    location: String,
    /// Pieces
    #[validate(custom(function = "check_some"))]
    #[schema(minimum = 1, maximum = 2_147_483_648_u64)]
    quantity: i64,
    /// How long the reservation holds: a second to a week
    #[validate(custom(function = "check_lifetime"))]
    #[schema(minimum = 1, maximum = 604_800)]
    expires_in_seconds: i64,
}

/// Stock, as it is published
#[derive(Debug, ToSchema)]
#[schema(as = Stock)]
#[expect(dead_code, reason = "describes the answer in the document only")]
pub(super) struct StockBody {
    /// The product
    sku: String,
    /// Where it lies
    location: String,
    /// Pieces on hand, what is reserved among them
    on_hand: i64,
    /// Pieces that are promised to somebody
    reserved: i64,
    /// On hand less reserved
    available: i64,
}

/// A reservation
#[derive(Debug, ToSchema)]
#[schema(as = Reservation)]
#[expect(dead_code, reason = "describes the answer in the document only")]
pub(super) struct ReservationBody {
    /// Its name, a UUID
    id: String,
    /// The product
    sku: String,
    /// Where it lies
    location: String,
    /// Pieces
    quantity: i64,
    /// Until when it holds
    #[schema(format = "date-time")]
    expires_at: String,
    /// `open`, `released`, `fulfilled` or `expired`
    state: String,
}

impl CountBody {
    /// What was counted of this stock.
    pub(super) fn into_quantity(self, key: &StockKey) -> Result<Quantity, Problem> {
        same(self.sku.as_deref(), &key.sku, "sku")?;
        same(self.location.as_deref(), &key.location, "location")?;
        Quantity::parse(self.on_hand).map_err(|invalid| Problem::refused("/on_hand", invalid))
    }

    /// The stock that a line of an import names itself, and what was counted of it.
    pub(super) fn into_named(self) -> Result<(StockKey, Quantity), Problem> {
        let sku = named(self.sku.as_deref(), "sku")?;
        let key = StockKey { sku, location: named(self.location.as_deref(), "location")? };
        Ok((key.clone(), self.into_quantity(&key)?))
    }
}

impl AdjustmentBody {
    /// By how much, and why.
    pub(super) fn into_parts(self) -> Result<(Delta, Option<Reason>), Problem> {
        let delta =
            Delta::parse(self.delta).map_err(|invalid| Problem::refused("/delta", invalid))?;
        let reason = self.reason.as_deref().map(Reason::parse).transpose();
        Ok((delta, reason.map_err(|invalid| Problem::refused("/reason", invalid))?))
    }
}

impl LocationBody {
    /// The location that a line of an import names itself.
    pub(super) fn into_named(self) -> Result<Location, Problem> {
        let id = named(self.id.as_deref(), "id")?;
        self.into_location(id)
    }

    /// The location of this id.
    pub(super) fn into_location(self, id: Id) -> Result<Location, Problem> {
        same(self.id.as_deref(), &id, "id")?;
        let text = |raw: Option<String>, pointer| {
            let text = raw.as_deref().map(Text::parse).transpose();
            text.map_err(|invalid| Problem::refused(pointer, invalid))
        };
        Ok(Location {
            id,
            name: text(self.name, "/name")?,
            city: text(self.city, "/city")?,
            region: text(self.region, "/region")?,
            postcode: text(self.postcode, "/postcode")?,
        })
    }
}

impl WantedBody {
    /// Of which stock how much is wanted, and for how long.
    pub(super) fn into_parts(self) -> Result<(StockKey, Quantity, Lifetime), Problem> {
        let id = |raw: &str, pointer| {
            Id::parse(raw).map_err(|invalid| Problem::refused(pointer, invalid))
        };
        let sku = id(&self.sku, "/sku")?;
        let location = id(&self.location, "/location")?;
        let quantity = Quantity::some(self.quantity);
        let quantity = quantity.map_err(|invalid| Problem::refused("/quantity", invalid))?;
        let lifetime = Lifetime::parse(self.expires_in_seconds);
        let lifetime =
            lifetime.map_err(|invalid| Problem::refused("/expires_in_seconds", invalid))?;
        Ok((StockKey { sku, location }, quantity, lifetime))
    }
}

fn check_text(raw: &str) -> Result<(), ValidationError> {
    Text::parse(raw).map(drop).map_err(broken)
}

fn check_reason(raw: &str) -> Result<(), ValidationError> {
    Reason::parse(raw).map(drop).map_err(broken)
}

fn check_quantity(raw: i64) -> Result<(), ValidationError> {
    Quantity::parse(raw).map(drop).map_err(broken)
}

fn check_some(raw: i64) -> Result<(), ValidationError> {
    Quantity::some(raw).map(drop).map_err(broken)
}

fn check_delta(raw: i64) -> Result<(), ValidationError> {
    Delta::parse(raw).map(drop).map_err(broken)
}

fn check_lifetime(raw: i64) -> Result<(), ValidationError> {
    Lifetime::parse(raw).map(drop).map_err(broken)
}
