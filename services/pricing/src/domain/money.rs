//! Exact amounts of money, and parts of them in percent.

use std::fmt;

use contracts::Invalid;
use rust_decimal::{Decimal, RoundingStrategy};

use super::Currency;

/// Digits before the point: no price needs more, and every product with a percentage stays exact.
const WHOLE_DIGITS_MAX: usize = 12;

/// An amount in some currency, never negative, always with the decimals of the currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(Decimal);

impl Amount {
    /// Accepts a decimal with at most as many decimals as the currency has; fewer are filled up.
    pub(crate) fn parse(raw: &str, currency: Currency) -> Result<Self, Invalid> {
        let decimals = usize::try_from(currency.decimals()).unwrap_or(usize::MAX);
        let written = Written::read(raw)?;
        if written.fraction.len() > decimals {
            let code = currency.code();
            let reason = format!("must have at most {decimals} decimals, as {code} has");
            return Err(Invalid::new("precision", reason));
        }
        if written.whole.len() > WHOLE_DIGITS_MAX {
            let reason = format!("must have at most {WHOLE_DIGITS_MAX} digits before the point");
            return Err(Invalid::new("out-of-range", reason));
        }
        Ok(Self(written.with_decimals(currency.decimals())))
    }

    /// An amount that was parsed before it was stored.
    pub(crate) fn stored(mut amount: Decimal, currency: Currency) -> Self {
        amount.rescale(currency.decimals());
        Self(amount)
    }

    /// What is left of it after this discount, rounded to the currency's decimals; a half goes to
    /// the even neighbour, so that many roundings do not add up to one side.
    pub(crate) fn less(self, off: Percent) -> Self {
        let decimals = self.0.scale();
        let left = (Decimal::ONE_HUNDRED - off.0) * Decimal::new(1, 2) * self.0;
        let mut left = left.round_dp_with_strategy(decimals, RoundingStrategy::MidpointNearestEven);
        left.rescale(decimals);
        Self(left)
    }

    pub(crate) fn value(self) -> Decimal {
        self.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part of an amount: above 0, at most 100, with at most two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percent(Decimal);

impl Percent {
    pub(crate) fn parse(raw: &str) -> Result<Self, Invalid> {
        let written = Written::read(raw)?;
        if written.fraction.len() > 2 {
            return Err(Invalid::new("precision", "must have at most 2 decimals"));
        }
        let beyond = || Invalid::new("out-of-range", "must be above 0 and at most 100");
        if written.whole.len() > 3 {
            return Err(beyond());
        }
        let percent = written.with_decimals(2);
        if percent.is_zero() || percent > Decimal::ONE_HUNDRED {
            return Err(beyond());
        }
        Ok(Self(percent.normalize()))
    }

    pub(crate) fn value(self) -> Decimal {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A decimal as it was written, in digits only: no sign, no exponent, no needless zero in front.
struct Written<'a> {
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Written<'a> {
    fn read(raw: &'a str) -> Result<Self, Invalid> {
        let (is_negative, rest) = raw.strip_prefix('-').map_or((false, raw), |rest| (true, rest));
        let (whole, fraction) = match rest.split_once('.') {
            // A point promises decimals.
            Some((_, "")) => return Err(malformed()),
            Some(parts) => parts,
            None => (rest, ""),
        };
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let is_padded = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || is_padded || !digits(whole) || !digits(fraction) {
            return Err(malformed());
        }
        if is_negative {
            return Err(Invalid::new("negative", "may not be negative"));
        }
        Ok(Self { whole, fraction })
    }

    /// Its value; the caller has bounded the digits, so that every value fits.
    fn with_decimals(&self, decimals: u32) -> Decimal {
        let digits = self.whole.bytes().chain(self.fraction.bytes());
        let value = digits.fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        let mut decimal = Decimal::new(value, u32::try_from(self.fraction.len()).unwrap_or(0));
        decimal.rescale(decimals);
        decimal
    }
}

fn malformed() -> Invalid {
    Invalid::new("malformed", "must be a decimal number in digits, such as \"59.00\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(raw: &str, currency: &str) -> Result<Amount, Invalid> {
        Amount::parse(raw, Currency::parse(currency).unwrap())
    }

    #[test]
    fn fewer_decimals_are_filled_up() {
        for (raw, currency, shown) in [
            ("59", "USD", "59.00"),
            ("59.5", "USD", "59.50"),
            ("0", "USD", "0.00"),
            ("0.01", "EUR", "0.01"),
            ("1500", "JPY", "1500"),
            ("1.5", "KWD", "1.500"),
            ("999999999999.9999", "CLF", "999999999999.9999"),
        ] {
            assert_eq!(amount(raw, currency).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_its_reason() {
        for (raw, currency, code) in [
            ("-1", "USD", "negative"),
            ("-0", "USD", "negative"),
            ("-0.001", "USD", "negative"),
            ("59.001", "USD", "precision"),
            ("59.000", "USD", "precision"),
            ("1.0", "JPY", "precision"),
            ("1000000000000", "USD", "out-of-range"),
            ("", "USD", "malformed"),
            ("-", "USD", "malformed"),
            ("--1", "USD", "malformed"),
            (".5", "USD", "malformed"),
            ("5.", "USD", "malformed"),
            ("+5", "USD", "malformed"),
            ("05", "USD", "malformed"),
            ("1e3", "USD", "malformed"),
            ("1_000", "USD", "malformed"),
            ("1,5", "USD", "malformed"),
            ("1.2.3", "USD", "malformed"),
            (" 1", "USD", "malformed"),
            ("NaN", "USD", "malformed"),
            ("٣", "USD", "malformed"),
        ] {
            assert_eq!(amount(raw, currency).unwrap_err().code, code, "{raw:?}");
        }
    }

    #[test]
    fn a_percentage_lies_above_0_and_at_most_at_100() {
        for (raw, shown) in
            [("20", "20"), ("20.00", "20"), ("12.50", "12.5"), ("0.01", "0.01"), ("100", "100")]
        {
            assert_eq!(Percent::parse(raw).unwrap().to_string(), shown);
        }
        for (raw, code) in [
            ("0", "out-of-range"),
            ("0.00", "out-of-range"),
            ("100.01", "out-of-range"),
            ("1000", "out-of-range"),
            ("20.001", "precision"),
            ("-20", "negative"),
            ("20%", "malformed"),
        ] {
            assert_eq!(Percent::parse(raw).unwrap_err().code, code, "{raw:?}");
        }
    }

    #[test]
    fn a_half_is_rounded_to_the_even_neighbour() {
        for (raw, currency, off, left) in [
            ("59.00", "USD", "20", "47.20"),
            ("0.05", "USD", "50", "0.02"),
            ("0.07", "USD", "50", "0.04"),
            ("0.15", "USD", "50", "0.08"),
            ("0.01", "USD", "50", "0.00"),
            ("5", "JPY", "50", "2"),
            ("7", "JPY", "50", "4"),
            ("1.005", "KWD", "10", "0.904"),
            ("19.99", "USD", "33.33", "13.33"),
            ("10.00", "USD", "100", "0.00"),
        ] {
            let left_of = amount(raw, currency).unwrap().less(Percent::parse(off).unwrap());
            assert_eq!(left_of.to_string(), left, "{raw} {currency} less {off} %");
        }
    }

    proptest! {
        /// In whole numbers: twice the distance from the exact value is at most one unit, and at
        /// exactly one unit the result is even.
        #[test]
        fn what_is_left_is_the_nearest_amount(
            minor in 0_i64..=99_999_999_999_999, off in 1_i64..=10_000,
        ) {
            let all = Amount(Decimal::new(minor, 2));
            let left = all.less(Percent(Decimal::new(off, 2)));
            prop_assert_eq!(left.value().scale(), 2);
            let left = left.value().mantissa();
            let exact = i128::from(minor) * i128::from(10_000 - off);
            let distance = (left * 10_000 - exact).abs() * 2;
            prop_assert!(distance < 10_000 || distance == 10_000 && left % 2 == 0);
        }

        #[test]
        fn an_amount_is_read_as_it_is_written(minor in 0_i64..=99_999_999_999_999) {
            let written = Decimal::new(minor, 2).to_string();
            prop_assert_eq!(amount(&written, "USD").unwrap().to_string(), written);
        }

        #[test]
        fn no_text_is_read_as_another_value(raw in "\\PC{0,12}") {
            if let Ok(read) = amount(&raw, "CLF") {
                prop_assert_eq!(read.value(), raw.parse::<Decimal>().unwrap());
            }
        }
    }
}
