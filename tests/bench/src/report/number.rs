//! How figures are written: three digits that matter, thousands apart.

use super::spread::Spread;

/// What stands where nothing was measured.
pub(crate) const NONE: &str = "-";

/// A figure with three digits that matter; thousands are set apart.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if size < 0.001 {
        "<0.001".to_owned()
    } else if size >= 100.0 || value.fract() == 0.0 {
        grouped(&format!("{value:.0}"))
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// A number of things.
pub(crate) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A ratio, with two digits behind the point.
pub(crate) fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// A change in percent, with its sign.
pub(crate) fn percent(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

/// The median with its range beside it, if it has one; each written by `write`.
pub(crate) fn ranged(spread: Option<Spread>, write: impl Fn(f64) -> String) -> String {
    let Some(spread) = spread else { return NONE.to_owned() };
    let [median, low, high] = [spread.median, spread.low, spread.high].map(write);
    if low == high { median } else { format!("{median} ({low}..{high})") }
}

/// The median alone.
pub(crate) fn median(spread: Option<Spread>, write: impl Fn(f64) -> String) -> String {
    spread.map_or_else(|| NONE.to_owned(), |spread| write(spread.median))
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_that_matter() {
        let written = [0.0, 0.000_2, 0.123_4, 3.0, 3.1, 12.34, 123.4, 999.7, 1_234_567.8, -4321.0]
            .map(number);
        let wanted =
            ["0", "<0.001", "0.123", "3", "3.10", "12.3", "123", "1,000", "1,234,568", "-4,321"];
        assert_eq!(written, wanted);
        assert_eq!(number(f64::NAN), "-");
        assert_eq!(count(100_000), "100,000");
    }

    #[test]
    fn a_range_stands_beside_its_median_unless_it_is_none() {
        let spread = Spread::of([3.1, 3.0, 3.4]);
        assert_eq!(ranged(spread, number), "3.10 (3..3.40)");
        assert_eq!(ranged(Spread::of([3.1]), number), "3.10");
        assert_eq!(ranged(None, number), "-");
        assert_eq!(percent(-0.034), "-3.4 %");
    }
}
