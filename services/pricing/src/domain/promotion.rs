//! Promotions: which products they name, how much they take off, and when.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, SecondsFormat, Timelike as _, Utc};
use contracts::{Id, Invalid};

use super::Percent;

/// A moment, exact to the microsecond, which is what every store of it keeps.
pub(crate) type Time = DateTime<Utc>;

/// The most products of one promotion: a write of it changes the price of each in one transaction.
pub(crate) const SKUS_MAX: usize = 1_000;
/// The most promotions on one product that have not ended: all lie in the row of its price.
pub(crate) const OFFERS_MAX: usize = 100;
/// The most periods of one promotion.
pub(crate) const PERIODS_MAX: usize = 50;

/// A discount on some products at some times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promotion {
    pub(crate) id: Id,
    pub(crate) skus: BTreeSet<Id>,
    pub(crate) percent_off: Percent,
    /// In order, apart from each other, at least one.
    pub(crate) periods: Vec<Period>,
}

/// What a promotion means to one of its products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) promotion: Id,
    pub(crate) percent_off: Percent,
    pub(crate) periods: Vec<Period>,
}

impl Promotion {
    pub(crate) fn offer(&self) -> Offer {
        let Self { id, skus: _, percent_off, periods } = self;
        Offer { promotion: id.clone(), percent_off: *percent_off, periods: periods.clone() }
    }
}

/// From its start on, up to but not including its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Period {
    starts_at: Time,
    ends_at: Time,
}

impl Period {
    pub(crate) fn new(starts_at: Time, ends_at: Time) -> Result<Self, Invalid> {
        if ends_at <= starts_at {
            let reason = format!("must be after its start, {}", show(starts_at));
            return Err(Invalid::new("ends-before-start", reason));
        }
        Ok(Self { starts_at, ends_at })
    }

    pub(crate) fn starts_at(&self) -> Time {
        self.starts_at
    }

    pub(crate) fn ends_at(&self) -> Time {
        self.ends_at
    }
}

/// Accepts a moment of RFC 3339 of the years 1970 to 9999, with at most six decimals.
pub(crate) fn time(raw: &str) -> Result<Time, Invalid> {
    let read = DateTime::parse_from_rfc3339(raw).map(|time| time.to_utc()).ok();
    // A leap second is a moment that no clock here shows.
    let Some(time) = read.filter(|time| time.nanosecond() < 1_000_000_000) else {
        let reason = "must be a moment of RFC 3339, such as 2026-12-01T00:00:00Z";
        return Err(Invalid::new("malformed", reason));
    };
    if !(1970..=9999).contains(&time.year()) {
        return Err(Invalid::new("out-of-range", "must lie in the years 1970 to 9999"));
    }
    if time.nanosecond() % 1_000 != 0 {
        return Err(Invalid::new("precision", "must be exact to the microsecond at most"));
    }
    Ok(time)
}

/// A moment as it travels: in UTC, without needless decimals.
pub(crate) fn show(time: Time) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Periods in order; where two overlap, the place of the one that starts later, as they were given.
pub(crate) fn sorted(given: &[Period]) -> Result<Vec<Period>, (usize, Invalid)> {
    let mut places: Vec<_> = given.iter().copied().enumerate().collect();
    places.sort_by_key(|(place, period)| (*period, *place));
    let overlap = places
        .iter()
        .zip(places.iter().skip(1))
        .find(|((_, one), (_, next))| next.starts_at < one.ends_at);
    match overlap {
        None => Ok(places.into_iter().map(|(_, period)| period).collect()),
        Some(((_, one), (place, _))) => {
            let (start, end) = (show(one.starts_at), show(one.ends_at));
            let reason = format!("overlaps the period from {start} to {end}");
            Err((*place, Invalid::new("overlap", reason)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(starts_at: &str, ends_at: &str) -> Result<Period, Invalid> {
        let day = |day: &str| time(&format!("2026-01-{day}T00:00:00Z")).unwrap();
        Period::new(day(starts_at), day(ends_at))
    }

    #[test]
    fn moments_are_read_and_shown_in_utc() {
        for (raw, shown) in [
            ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-12-01T01:00:00+01:00", "2026-12-01T00:00:00Z"),
            ("2026-12-01t00:00:00.5z", "2026-12-01T00:00:00.500Z"),
            ("2026-12-01T00:00:00.000001Z", "2026-12-01T00:00:00.000001Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(show(time(raw).unwrap()), shown);
        }
        for (raw, code) in [
            ("", "malformed"),
            ("2026-12-01", "malformed"),
            ("2026-12-01T00:00:00", "malformed"),
            ("2026-02-30T00:00:00Z", "malformed"),
            ("2026-12-31T23:59:60Z", "malformed"),
            ("10000-01-01T00:00:00Z", "malformed"),
            ("1969-12-31T23:59:59Z", "out-of-range"),
            ("9999-12-31T23:59:59-01:00", "out-of-range"),
            ("2026-12-01T00:00:00.0000001Z", "precision"),
        ] {
            assert_eq!(time(raw).unwrap_err().code, code, "{raw:?}");
        }
    }

    #[test]
    fn a_period_ends_after_it_starts() {
        assert!(period("01", "02").is_ok());
        assert_eq!(period("01", "01").unwrap_err().code, "ends-before-start");
        assert_eq!(period("02", "01").unwrap_err().code, "ends-before-start");
    }

    #[test]
    fn periods_are_put_in_order_and_may_touch_but_not_overlap() {
        let [a, b, c] = [period("01", "03"), period("03", "05"), period("07", "09")];
        let [a, b, c] = [a.unwrap(), b.unwrap(), c.unwrap()];
        assert_eq!(sorted(&[c, a, b]), Ok(vec![a, b, c]));
        let late = period("04", "06").unwrap();
        let (place, invalid) = sorted(&[late, c, b]).unwrap_err();
        assert_eq!((place, invalid.code), (0, "overlap"));
        let (place, invalid) = sorted(&[a, c, a]).unwrap_err();
        assert_eq!((place, invalid.code), (2, "overlap"));
        let around = period("01", "09").unwrap();
        assert_eq!(sorted(&[b, around]).unwrap_err().0, 0);
    }
}
