//! Bodies of requests: what may stand in them, and the way to the domain.

use std::collections::BTreeSet;

use contracts::{Id, Invalid};
use records::{BrokenRules, check_id, named, same};
use serde::Deserialize;
use service_kit::{Problem, broken};
use utoipa::ToSchema;
use validator::{Validate, ValidationError, ValidationErrors};

use crate::domain::{
    Amount, Currency, PERIODS_MAX, Percent, Period, Price, Promotion, SKUS_MAX, sorted, time,
};

/// A price
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPrice)]
pub(crate) struct PriceBody {
    /// The same as in the path, or left out
    sku: Option<String>,
    /// ISO 4217, in capitals
    currency: String,
    /// A decimal, at least 0, with at most as many decimals as the currency has
    amount: String,
}

/// A price, and what holds now
#[derive(ToSchema)]
#[schema(as = Price)]
#[expect(dead_code, reason = "describes the answer in the document only")]
pub(crate) struct PricePart {
    /// The product
    sku: String,
    /// ISO 4217
    currency: String,
    /// The list price, with the decimals of the currency
    amount: String,
    /// What holds now: the list price, or what the best promotion leaves of it
    effective: String,
    /// Id of that promotion
    #[schema(required = true)]
    promotion: Option<String>,
    /// The next moment at which effective or promotion changes by itself, RFC 3339 in UTC
    #[schema(required = true)]
    until: Option<String>,
}

/// A promotion
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Promotion)]
pub(crate) struct PromotionBody {
    /// The same as in the path, or left out
    #[validate(custom(function = "check_id"))]
    id: Option<String>,
    /// The products, 1 to 1,000; they need not have a price yet
    #[validate(nested)]
    #[schema(value_type = Vec<String>)]
    skus: Skus,
    /// A decimal above 0 and at most 100, with at most two decimals
    #[validate(custom(function = "check_percent"))]
    percent_off: String,
    /// 1 to 50, apart from each other
    #[validate(nested)]
    #[schema(value_type = Vec<PeriodBody>)]
    periods: Periods,
}

/// From its start on, up to but not including its end
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Period)]
pub(crate) struct PeriodBody {
    /// RFC 3339
    starts_at: String,
    /// RFC 3339
    ends_at: String,
}

impl PriceBody {
    /// The SKU of a line, which has no path.
    pub(crate) fn own_sku(&self) -> Result<Id, Problem> {
        named(self.sku.as_deref(), "sku")
    }

    /// The price of this SKU; the body was validated, so what is left is what involves the path.
    pub(crate) fn price(&self, sku: &Id) -> Result<Price, Problem> {
        same(self.sku.as_deref(), sku, "sku")?;
        self.parse().map_err(|(pointer, invalid)| Problem::refused(pointer, invalid))
    }

    fn parse(&self) -> Result<Price, (&'static str, Invalid)> {
        let currency = Currency::parse(&self.currency);
        let currency = currency.map_err(|invalid| ("/currency", invalid))?;
        let amount = Amount::parse(&self.amount, currency);
        Ok(Price { currency, amount: amount.map_err(|invalid| ("/amount", invalid))? })
    }
}

impl Validate for PriceBody {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let mut errors = BrokenRules::default();
        errors.check("sku", self.sku.as_deref().map_or(Ok(()), |raw| Id::parse(raw).map(drop)));
        if let Err((pointer, invalid)) = self.parse() {
            errors.check(pointer.trim_start_matches('/'), Err(invalid));
        }
        errors.finish()
    }
}

impl PromotionBody {
    /// The id of a line, which has no path.
    pub(crate) fn own_id(&self) -> Result<Id, Problem> {
        named(self.id.as_deref(), "id")
    }

    /// The promotion of this id; the body was validated, so what is left is what involves the path.
    pub(crate) fn into_promotion(self, id: Id) -> Result<Promotion, Problem> {
        same(self.id.as_deref(), &id, "id")?;
        let skus = self.skus.0.iter().map(|raw| Id::parse(raw));
        let skus = skus.collect::<Result<_, _>>();
        let skus = skus.map_err(|invalid| Problem::refused("/skus", invalid))?;
        let percent_off = Percent::parse(&self.percent_off);
        let percent_off =
            percent_off.map_err(|invalid| Problem::refused("/percent_off", invalid))?;
        let refused = |invalid| Problem::refused("/periods", invalid);
        let periods = self.periods.0.iter().map(|body| body.parse().map_err(|(_, rule)| rule));
        let periods = periods.collect::<Result<Vec<_>, _>>().map_err(refused)?;
        let periods = sorted(&periods).map_err(|(_, invalid)| refused(invalid))?;
        Ok(Promotion { id, skus, percent_off, periods })
    }
}

impl PeriodBody {
    fn parse(&self) -> Result<Period, (&'static str, Invalid)> {
        let starts_at = time(&self.starts_at).map_err(|invalid| ("starts_at", invalid))?;
        let ends_at = time(&self.ends_at).map_err(|invalid| ("ends_at", invalid))?;
        Period::new(starts_at, ends_at).map_err(|invalid| ("ends_at", invalid))
    }
}

fn check_percent(raw: &str) -> Result<(), ValidationError> {
    Percent::parse(raw).map(drop).map_err(broken)
}

fn check_count(count: usize, max: usize) -> Result<(), Invalid> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(Invalid::new("count", format!("must be 1 to {max}, not {count}")))
}

/// SKUs, each once.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Skus(Vec<String>);

impl Validate for Skus {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let mut errors = BrokenRules::default();
        errors.check("", check_count(self.0.len(), SKUS_MAX));
        let mut seen = BTreeSet::new();
        for (index, raw) in self.0.iter().enumerate() {
            let once = Id::parse(raw).and_then(|_| match seen.insert(raw.as_str()) {
                true => Ok(()),
                false => Err(Invalid::new("duplicate", "is named twice")),
            });
            errors.check(&index.to_string(), once);
        }
        errors.finish()
    }
}

/// Periods in any order.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Periods(Vec<PeriodBody>);

impl Validate for Periods {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let mut errors = BrokenRules::default();
        errors.check("", check_count(self.0.len(), PERIODS_MAX));
        let mut periods = Vec::new();
        for (index, body) in self.0.iter().enumerate() {
            match body.parse() {
                Ok(period) => periods.push(period),
                Err((field, invalid)) => {
                    errors.check_below(&index.to_string(), field, Err(invalid));
                }
            }
        }
        // Places are those of the body only where every period was read.
        if periods.len() == self.0.len()
            && let Err((index, invalid)) = sorted(&periods)
        {
            errors.check(&index.to_string(), Err(invalid));
        }
        errors.finish()
    }
}
