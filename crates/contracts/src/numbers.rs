//! The numbers that travel: publication number, version and term.
//!
//! On the wire the first two are decimal text, since JSON numbers above 2^53 do not survive every
//! road through the broker.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that is no number from 0 to 2^63 - 1 in plain decimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a whole number from 0 to 9223372036854775807")]
pub struct InvalidNumber(String);

/// Publication number: the place of a change in its stream, dense from 1; 0 is before the first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Pn(i64);

impl Pn {
    /// Before the first change of a stream.
    pub const ZERO: Self = Self(0);

    /// Accepts plain decimal digits.
    pub fn parse(raw: &str) -> Result<Self, InvalidNumber> {
        decimal(raw).map(Self)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The number `count` places later.
    #[must_use]
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// The number before this one; the one before 0 is 0.
    #[must_use]
    pub const fn previous(self) -> Self {
        if self.0 == 0 { self } else { Self(self.0 - 1) }
    }
}

/// The dense number of an entity's states; it never restarts, not even after a delete.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Version(i64);

impl Version {
    /// The entity never existed.
    pub const ZERO: Self = Self(0);

    /// Accepts plain decimal digits.
    pub fn parse(raw: &str) -> Result<Self, InvalidNumber> {
        decimal(raw).map(Self)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Random id of one relay's time in charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(Uuid);

impl Term {
    /// Wraps the id that a relay drew when it took over.
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The id.
    pub const fn get(self) -> Uuid {
        self.0
    }
}

fn decimal(raw: &str) -> Result<i64, InvalidNumber> {
    let plain = !raw.is_empty()
        && raw.bytes().all(|b| b.is_ascii_digit())
        && (raw == "0" || !raw.starts_with('0'));
    let invalid = || InvalidNumber(raw.chars().take(32).collect());
    if plain { raw.parse().map_err(|_| invalid()) } else { Err(invalid()) }
}

impl TryFrom<i64> for Pn {
    type Error = InvalidNumber;

    fn try_from(raw: i64) -> Result<Self, InvalidNumber> {
        if raw < 0 { Err(InvalidNumber(raw.to_string())) } else { Ok(Self(raw)) }
    }
}

impl TryFrom<i64> for Version {
    type Error = InvalidNumber;

    fn try_from(raw: i64) -> Result<Self, InvalidNumber> {
        if raw < 0 { Err(InvalidNumber(raw.to_string())) } else { Ok(Self(raw)) }
    }
}

impl TryFrom<String> for Pn {
    type Error = InvalidNumber;

    fn try_from(raw: String) -> Result<Self, InvalidNumber> {
        Self::parse(&raw)
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidNumber;

    fn try_from(raw: String) -> Result<Self, InvalidNumber> {
        Self::parse(&raw)
    }
}

impl From<Pn> for String {
    fn from(pn: Pn) -> Self {
        pn.0.to_string()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0.to_string()
    }
}

impl fmt::Display for Pn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_travel_as_text_and_keep_every_digit() {
        let json = serde_json::to_string(&Pn(i64::MAX)).unwrap();
        assert_eq!(json, "\"9223372036854775807\"");
        assert_eq!(serde_json::from_str::<Pn>(&json).unwrap(), Pn(i64::MAX));
    }

    #[test]
    fn anything_but_plain_digits_is_refused() {
        for raw in ["", "-1", "+1", "01", "1.0", "1e3", " 1", "9223372036854775808", "١"] {
            assert!(Version::parse(raw).is_err(), "{raw:?}");
        }
        assert!(Version::try_from(-1).is_err());
        assert!(serde_json::from_str::<Version>("7").is_err());
    }

    #[test]
    fn nothing_comes_before_zero() {
        assert_eq!(Pn::ZERO.previous(), Pn::ZERO);
        assert_eq!(Pn::ZERO.plus(2).previous(), Pn(1));
    }
}
