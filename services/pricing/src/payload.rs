//! What pricing publishes: the full state of a record, as its contract file describes it.

use contracts::Id;
use serde::Serialize;

use crate::domain::{Effective, Period, Price, Promotion, show};

/// Topic of prices.
pub(crate) const PRICES: &str = "pricing.prices";
/// Topic of promotions.
pub(crate) const PROMOTIONS: &str = "pricing.promotions";

/// A price as it travels.
#[derive(Debug, Serialize)]
pub(crate) struct PricePayload<'a> {
    sku: &'a str,
    currency: &'static str,
    amount: String,
    effective: String,
    promotion: Option<&'a str>,
    until: Option<String>,
}

/// A promotion as it travels.
#[derive(Debug, Serialize)]
pub(crate) struct PromotionPayload<'a> {
    id: &'a str,
    skus: Vec<&'a str>,
    percent_off: String,
    periods: Vec<PeriodPayload>,
}

/// A period as it travels.
#[derive(Debug, Serialize)]
pub(crate) struct PeriodPayload {
    starts_at: String,
    ends_at: String,
}

impl<'a> PricePayload<'a> {
    /// The key that it travels under.
    pub(crate) fn sku(&self) -> &'a str {
        self.sku
    }

    pub(crate) fn new(sku: &'a Id, price: Price, effective: &'a Effective) -> Self {
        Self {
            sku: sku.as_str(),
            currency: price.currency.code(),
            amount: price.amount.to_string(),
            effective: effective.amount.to_string(),
            promotion: effective.promotion.as_ref().map(Id::as_str),
            until: effective.until.map(show),
        }
    }
}

impl<'a> From<&'a Promotion> for PromotionPayload<'a> {
    fn from(promotion: &'a Promotion) -> Self {
        let period = |period: &Period| PeriodPayload {
            starts_at: show(period.starts_at()),
            ends_at: show(period.ends_at()),
        };
        Self {
            id: promotion.id.as_str(),
            skus: promotion.skus.iter().map(Id::as_str).collect(),
            percent_off: promotion.percent_off.to_string(),
            periods: promotion.periods.iter().map(period).collect(),
        }
    }
}
