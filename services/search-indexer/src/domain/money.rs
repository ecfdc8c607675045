//! Amounts of money without rounding, and the currencies they are in.

use std::fmt;
use std::str::FromStr;

/// More decimals than any currency of ISO 4217 has.
const DECIMALS_MAX: usize = 4;
/// How many parts of an amount make one unit of its currency.
const PARTS: u64 = 10_u64.pow(4);
/// So that an amount, in parts, stays far below the end of its integer.
const DIGITS_MAX: usize = 15;

/// An amount that is not negative, exact to four decimals; it is shown with those it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    parts: u64,
    decimals: u8,
}

impl Amount {
    /// The amount of this many ten thousandths, with that many decimals or as many as it takes.
    pub(crate) fn of_parts(parts: u64, decimals: u64) -> Self {
        let exact = |decimals: &u8| parts.is_multiple_of(step(*decimals));
        let least = (0..=4).find(exact).unwrap_or(4);
        Self { parts, decimals: u8::try_from(decimals).unwrap_or(4).clamp(least, 4) }
    }

    /// The amount in ten thousandths, below 10^19: by this amounts are compared.
    pub(crate) const fn parts(self) -> u64 {
        self.parts
    }

    /// How many decimals it is shown with.
    pub(crate) const fn decimals(self) -> u8 {
        self.decimals
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    /// Reads digits, and after a point one to four more; no sign, no exponent, no blanks.
    fn from_str(raw: &str) -> Result<Self, InvalidAmount> {
        if raw.starts_with('-') {
            return Err(InvalidAmount::Negative);
        }
        let (whole, fraction) =
            raw.split_once('.').map_or((raw, None), |(whole, fraction)| (whole, Some(fraction)));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !fraction.is_none_or(is_number) {
            return Err(InvalidAmount::Malformed);
        }
        let fraction = fraction.unwrap_or_default();
        if fraction.len() > DECIMALS_MAX {
            return Err(InvalidAmount::TooPrecise);
        }
        let whole = whole.trim_start_matches('0');
        if whole.len() > DIGITS_MAX {
            return Err(InvalidAmount::TooLarge);
        }
        let number = |text: &str| {
            text.bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
        };
        let decimals = u8::try_from(fraction.len()).unwrap_or(4);
        Ok(Self { parts: number(whole) * PARTS + number(fraction) * step(decimals), decimals })
    }
}

/// How many parts the last of these decimals stands for.
fn step(decimals: u8) -> u64 {
    10_u64.pow(4_u32.saturating_sub(u32::from(decimals)))
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.parts / PARTS, self.parts % PARTS / step(self.decimals));
        match self.decimals {
            0 => write!(f, "{whole}"),
            decimals => write!(f, "{whole}.{rest:0width$}", width = usize::from(decimals)),
        }
    }
}

/// Text that is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// It is no decimal number.
    #[error("must be a decimal number such as 59 or 59.95")]
    Malformed,
    /// It is below zero.
    #[error("must not be negative")]
    Negative,
    /// It has more decimals than any currency.
    #[error("must have at most {DECIMALS_MAX} decimals")]
    TooPrecise,
    /// It is beyond every price.
    #[error("must have at most {DIGITS_MAX} digits before the point")]
    TooLarge,
}

/// A currency by its three letters of ISO 4217; which of them exist is the owner's business.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Currency(String);

impl Currency {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    fn from_str(raw: &str) -> Result<Self, InvalidCurrency> {
        let is_code = raw.len() == 3 && raw.bytes().all(|byte| byte.is_ascii_uppercase());
        if is_code { Ok(Self(raw.to_owned())) } else { Err(InvalidCurrency) }
    }
}

/// Text that is no code of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be three capital letters, as in USD")]
pub struct InvalidCurrency;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(raw: &str) -> Result<u64, InvalidAmount> {
        raw.parse().map(Amount::parts)
    }

    proptest! {
        #[test]
        fn an_amount_is_shown_as_it_came(raw in r"(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?") {
            let amount: Amount = raw.parse().unwrap();
            prop_assert_eq!(amount.to_string(), &*raw);
            prop_assert_eq!(Amount::of_parts(amount.parts(), u64::from(amount.decimals())), amount);
        }

        /// Compared as numbers of one length, that is, without this encoding.
        #[test]
        fn parts_are_ordered_as_the_amounts_are(
            a in (0_u64..10_u64.pow(15), 0_u64..10_000),
            b in (0_u64..10_u64.pow(15), 0_u64..10_000),
        ) {
            let of = |(whole, rest): (u64, u64)| parts(&format!("{whole}.{rest:04}")).unwrap();
            prop_assert_eq!(of(a).cmp(&of(b)), a.cmp(&b));
            prop_assert!(of(a) < 10_u64.pow(19));
        }

        #[test]
        fn no_decimal_is_lost(parts: u64, decimals: u64) {
            let shown = Amount::of_parts(parts, decimals).to_string();
            let (whole, rest) = shown.split_once('.').unwrap_or((&shown, ""));
            let whole = whole.parse::<u128>().unwrap() * 10_000;
            let rest = format!("{rest:0<4}").parse::<u128>().unwrap();
            prop_assert_eq!(whole + rest, u128::from(parts));
        }
    }

    #[test]
    fn trailing_zeros_make_no_difference_to_the_value() {
        for raw in ["5", "5.0", "5.00", "5.0000", "005"] {
            assert_eq!(parts(raw), Ok(50_000), "{raw}");
        }
        assert_eq!(Amount::of_parts(50_000, 2).to_string(), "5.00");
        assert_eq!(Amount::of_parts(12_345, 2).to_string(), "1.2345");
    }

    #[test]
    fn what_is_no_amount_is_refused_with_its_reason() {
        use InvalidAmount::{Malformed, Negative, TooLarge, TooPrecise};
        for (raw, reason) in [
            ("", Malformed),
            (".", Malformed),
            ("5.", Malformed),
            (".5", Malformed),
            ("+5", Malformed),
            (" 5", Malformed),
            ("5,00", Malformed),
            ("1e3", Malformed),
            ("1_000", Malformed),
            ("1.2.3", Malformed),
            ("٣", Malformed),
            ("NaN", Malformed),
            ("-1", Negative),
            ("-0.01", Negative),
            ("0.00000", TooPrecise),
            ("1000000000000000", TooLarge),
        ] {
            assert_eq!(parts(raw), Err(reason), "{raw}");
        }
        assert_eq!(parts("999999999999999.9999"), Ok(9_999_999_999_999_999_999));
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!("USD".parse::<Currency>().unwrap().as_str(), "USD");
        for raw in ["", "usd", "US", "USDT", "U1D", "ÄÖ"] {
            assert_eq!(raw.parse::<Currency>(), Err(InvalidCurrency), "{raw}");
        }
    }
}
