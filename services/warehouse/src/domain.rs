//! What is in stock, what of it is reserved, and what may never become of either.

mod location;
mod reservation;

pub(crate) use location::{Location, Text};
pub(crate) use reservation::{Ended, Ending, Lifetime, Reservation, State};

use contracts::{Id, Invalid};

/// The most that can be counted of anything at one place.
pub(crate) const QUANTITY_MAX: i64 = 1 << 31;
/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 128;

/// One product at one location.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StockKey {
    pub(crate) sku: Id,
    pub(crate) location: Id,
}

impl StockKey {
    /// The name under which it is published: neither part can have the `/` between them.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.sku, self.location)
    }
}

/// A number of pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(i64);

impl Quantity {
    /// Accepts 0 to 2^31.
    pub(crate) fn parse(raw: i64) -> Result<Self, Invalid> {
        Self::within(raw, 0)
    }

    /// Accepts 1 to 2^31: what is reserved is not nothing.
    pub(crate) fn some(raw: i64) -> Result<Self, Invalid> {
        Self::within(raw, 1)
    }

    fn within(raw: i64, least: i64) -> Result<Self, Invalid> {
        if (least..=QUANTITY_MAX).contains(&raw) {
            return Ok(Self(raw));
        }
        let reason = format!("must be a whole number from {least} to {QUANTITY_MAX}, not {raw}");
        Err(Invalid::new("out-of-range", reason))
    }

    pub(crate) const fn get(self) -> i64 {
        self.0
    }
}

/// By how much stock changes; never by nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delta(i64);

impl Delta {
    pub(crate) fn parse(raw: i64) -> Result<Self, Invalid> {
        if raw == 0 {
            return Err(Invalid::new("zero", "must not be 0, which would change nothing"));
        }
        if (-QUANTITY_MAX..=QUANTITY_MAX).contains(&raw) {
            return Ok(Self(raw));
        }
        let reason =
            format!("must be a whole number from -{QUANTITY_MAX} to {QUANTITY_MAX}, not {raw}");
        Err(Invalid::new("out-of-range", reason))
    }

    pub(crate) const fn get(self) -> i64 {
        self.0
    }
}

/// Why stock changes, in a few words of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason(String);

impl Reason {
    pub(crate) fn parse(raw: &str) -> Result<Self, Invalid> {
        location::line(raw, REASON_CHARS_MAX).map(|()| Self(raw.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What lies at a place, and how much of it is promised to somebody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Level {
    on_hand: i64,
    reserved: i64,
}

impl Level {
    /// As it was stored, where the same rules are checked.
    pub(crate) const fn stored(on_hand: i64, reserved: i64) -> Self {
        Self { on_hand, reserved }
    }

    pub(crate) const fn on_hand(self) -> i64 {
        self.on_hand
    }

    pub(crate) const fn reserved(self) -> i64 {
        self.reserved
    }

    /// What nobody has been promised.
    pub(crate) const fn available(self) -> i64 {
        self.on_hand - self.reserved
    }

    /// After a count; what is reserved must be among it.
    pub(crate) const fn counted(self, on_hand: Quantity) -> Result<Self, Refusal> {
        if on_hand.get() < self.reserved {
            return Err(Refusal::BelowReserved { reserved: self.reserved });
        }
        Ok(Self { on_hand: on_hand.get(), ..self })
    }

    /// After a delivery, a sale or a loss; what is reserved cannot be taken.
    pub(crate) const fn adjusted(self, delta: Delta) -> Result<Self, Refusal> {
        if self.available() + delta.get() < 0 {
            let available = self.available();
            return Err(Refusal::Insufficient { field: "delta", available });
        }
        let on_hand = self.on_hand + delta.get();
        if on_hand > QUANTITY_MAX {
            return Err(Refusal::TooMuch { on_hand: self.on_hand });
        }
        Ok(Self { on_hand, ..self })
    }

    /// With this much more promised.
    pub(crate) const fn reserve(self, quantity: Quantity) -> Result<Self, Refusal> {
        if quantity.get() > self.available() {
            let available = self.available();
            return Err(Refusal::Insufficient { field: "quantity", available });
        }
        Ok(Self { reserved: self.reserved + quantity.get(), ..self })
    }

    /// With this much promised no more.
    pub(crate) const fn release(self, quantity: Quantity) -> Self {
        debug_assert!(self.reserved >= quantity.get(), "what ends was part of what is reserved");
        Self { reserved: self.reserved - quantity.get(), ..self }
    }

    /// With this much of what was promised handed out.
    pub(crate) const fn fulfil(self, quantity: Quantity) -> Self {
        let rest = self.release(quantity);
        Self { on_hand: rest.on_hand - quantity.get(), ..rest }
    }
}

/// A change that what is in stock does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("must be at least {reserved}, since so many are reserved")]
    BelowReserved { reserved: i64 },
    #[error("is more than there is: {available} are available")]
    Insufficient { field: &'static str, available: i64 },
    #[error("is too much: {on_hand} are on hand, and at most {QUANTITY_MAX} may be")]
    TooMuch { on_hand: i64 },
}

impl Refusal {
    /// The rule as one stable word.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::BelowReserved { .. } => "below-reserved",
            Self::Insufficient { .. } => "insufficient-stock",
            Self::TooMuch { .. } => "too-much-stock",
        }
    }

    /// The field that asks for it.
    pub(crate) const fn field(&self) -> &'static str {
        match self {
            Self::BelowReserved { .. } => "on_hand",
            Self::Insufficient { field, .. } => field,
            Self::TooMuch { .. } => "delta",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(raw: i64) -> Quantity {
        Quantity::some(raw).unwrap()
    }

    #[test]
    fn quantities_are_whole_and_bounded() {
        assert_eq!(Quantity::parse(0).unwrap().get(), 0);
        assert_eq!(Quantity::parse(QUANTITY_MAX).unwrap().get(), QUANTITY_MAX);
        for bad in [-1, QUANTITY_MAX + 1, i64::MIN, i64::MAX] {
            assert_eq!(Quantity::parse(bad).unwrap_err().code, "out-of-range", "{bad}");
        }
        assert_eq!(Quantity::some(0).unwrap_err().code, "out-of-range");
        assert_eq!(Delta::parse(0).unwrap_err().code, "zero");
        assert_eq!(Delta::parse(-QUANTITY_MAX).unwrap().get(), -QUANTITY_MAX);
        for bad in [-QUANTITY_MAX - 1, QUANTITY_MAX + 1, i64::MIN, i64::MAX] {
            assert_eq!(Delta::parse(bad).unwrap_err().code, "out-of-range", "{bad}");
        }
    }

    #[test]
    fn a_count_may_not_lose_what_is_reserved() {
        let level = Level::stored(10, 4);
        assert_eq!(level.counted(Quantity::parse(4).unwrap()), Ok(Level::stored(4, 4)));
        let refused = level.counted(Quantity::parse(3).unwrap());
        assert_eq!(refused, Err(Refusal::BelowReserved { reserved: 4 }));
    }

    #[test]
    fn an_adjustment_takes_only_what_is_available() {
        let level = Level::stored(10, 4);
        assert_eq!(level.adjusted(Delta::parse(-6).unwrap()), Ok(Level::stored(4, 4)));
        let refused = level.adjusted(Delta::parse(-7).unwrap());
        assert_eq!(refused, Err(Refusal::Insufficient { field: "delta", available: 6 }));
        let refused = level.adjusted(Delta::parse(QUANTITY_MAX).unwrap());
        assert_eq!(refused, Err(Refusal::TooMuch { on_hand: 10 }));
        let full = level.adjusted(Delta::parse(QUANTITY_MAX - 10).unwrap());
        assert_eq!(full, Ok(Level::stored(QUANTITY_MAX, 4)));
    }

    #[test]
    fn a_reservation_takes_only_what_is_available_and_gives_it_back_or_away() {
        let level = Level::stored(3, 1).reserve(some(2)).unwrap();
        assert_eq!((level, level.available()), (Level::stored(3, 3), 0));
        let refused = level.reserve(some(1));
        assert_eq!(refused, Err(Refusal::Insufficient { field: "quantity", available: 0 }));
        assert_eq!(level.release(some(2)), Level::stored(3, 1));
        assert_eq!(level.fulfil(some(2)), Level::stored(1, 1));
    }

    #[test]
    fn keys_that_look_alike_are_told_apart() {
        let key = |sku, location| {
            let id = |raw| Id::parse(raw).unwrap();
            StockKey { sku: id(sku), location: id(location) }.name()
        };
        assert_eq!(key("a", "b.c"), "a/b.c");
        assert_ne!(key("a.b", "c"), key("a", "b.c"));
    }
}
