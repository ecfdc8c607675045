//! Prices and promotions, what makes one acceptable, and what holds at a moment.

use contracts::{Id, Invalid};

mod currency;
mod effective;
mod money;
mod promotion;

pub(crate) use self::currency::Currency;

pub(crate) use self::effective::{Effective, effective};
pub(crate) use self::money::{Amount, Percent};
pub(crate) use self::promotion::{
    OFFERS_MAX, Offer, PERIODS_MAX, Period, Promotion, SKUS_MAX, Time, show, sorted, time,
};

/// What a product costs before any promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) currency: Currency,
    pub(crate) amount: Amount,
}

/// Everything that decides what a product costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) sku: Id,
    /// None where it has not been given one.
    pub(crate) price: Option<Price>,
    /// Of each promotion that names it, at most one.
    pub(crate) offers: Vec<Offer>,
}

impl Terms {
    /// Takes back what these promotions offered.
    pub(crate) fn withdraw(&mut self, promotions: &[&Id]) {
        self.offers.retain(|offer| !promotions.contains(&&offer.promotion));
    }

    /// Forgets what has ended: nothing is decided by it any more.
    pub(crate) fn forget(&mut self, now: Time) {
        for offer in &mut self.offers {
            offer.periods.retain(|period| now < period.ends_at());
        }
        self.offers.retain(|offer| !offer.periods.is_empty());
    }

    /// Adds what these promotions offer, if it is not too much.
    pub(crate) fn add(
        &mut self,
        offers: impl IntoIterator<Item = Offer>,
        now: Time,
    ) -> Result<(), Invalid> {
        self.forget(now);
        let before = self.offers.len();
        self.offers.extend(offers);
        if self.offers.len() > before && self.offers.len() > OFFERS_MAX {
            let reason = format!("{} has {OFFERS_MAX} promotions already", self.sku);
            return Err(Invalid::new("too-many-promotions", reason));
        }
        Ok(())
    }

    /// What it costs now, where it has a price.
    pub(crate) fn effective(&self, now: Time) -> Option<Effective> {
        Some(effective(self.price?.amount, &self.offers, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_forgotten_and_changes_no_decision() {
        let at = |second| Time::from_timestamp(second, 0).unwrap();
        let offer = |id: &str, periods: &[(i64, i64)]| Offer {
            promotion: Id::parse(id).unwrap(),
            percent_off: Percent::parse("20").unwrap(),
            periods: periods.iter().map(|(s, e)| Period::new(at(*s), at(*e)).unwrap()).collect(),
        };
        let currency = Currency::parse("USD").unwrap();
        let amount = Amount::parse("59", currency).unwrap();
        let mut terms = Terms {
            sku: Id::parse("a").unwrap(),
            price: Some(Price { currency, amount }),
            offers: vec![offer("past", &[(0, 10)]), offer("partly", &[(0, 10), (20, 30)])],
        };
        let before = terms.effective(at(10));
        terms.forget(at(10));
        assert_eq!(terms.offers, [offer("partly", &[(20, 30)])]);
        assert_eq!(terms.effective(at(10)), before);
        terms.withdraw(&[&Id::parse("partly").unwrap()]);
        assert_eq!(terms.offers, []);
    }
}
