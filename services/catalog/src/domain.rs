//! Products and categories, and what makes one acceptable.

use std::collections::BTreeMap;

use contracts::{Id, Invalid};

/// The longest name of anything, in characters.
const NAME_CHARS_MAX: usize = 512;
/// The longest text of an attribute, in characters.
const TEXT_CHARS_MAX: usize = 4096;
/// Whole numbers beyond it do not survive a program that keeps numbers as f64.
const INTEGER_MAX: i64 = 1 << 53;
/// The most categories of one product.
const CATEGORIES_MAX: usize = 64;
/// The most attributes of one product.
const ATTRIBUTES_MAX: usize = 200;

/// What people call a product or a category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn parse(raw: &str) -> Result<Self, Invalid> {
        let chars = raw.chars().count();
        if chars > NAME_CHARS_MAX || raw.trim().is_empty() {
            let reason = format!("must have 1 to {NAME_CHARS_MAX} characters, not only blanks");
            return Err(Invalid::new("length", reason));
        }
        if raw.chars().any(char::is_control) {
            return Err(Invalid::new("illegal-character", "may not have control characters"));
        }
        Ok(Self(raw.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attribute {
    Text(String),
    Integer(i64),
    Decimal(f64),
    Flag(bool),
}

impl Attribute {
    /// Accepts text that every store can hold.
    pub(crate) fn text(raw: String) -> Result<Self, Invalid> {
        // No text has more characters than bytes.
        if raw.len() > TEXT_CHARS_MAX && raw.chars().count() > TEXT_CHARS_MAX {
            let reason = format!("must have at most {TEXT_CHARS_MAX} characters");
            return Err(Invalid::new("length", reason));
        }
        let is_plain = raw.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let is_foreign = |c: char| c.is_control() && !['\n', '\r', '\t'].contains(&c);
        if !is_plain && raw.chars().any(is_foreign) {
            let reason = "may not have control characters other than tab and line ends";
            return Err(Invalid::new("illegal-character", reason));
        }
        Ok(Self::Text(raw))
    }

    /// Accepts a JSON number by its text, since every parsed form has lost what was wrong with it.
    /// Equal numbers become equal values: `1.0` and `1`, `-0` and `0`. What a float would change,
    /// however little, is refused: the caller alone knows whether a digit may go.
    pub(crate) fn number(raw: &str) -> Result<Self, Invalid> {
        if let Ok(integer) = raw.parse::<i64>() {
            return match integer.unsigned_abs() <= INTEGER_MAX.unsigned_abs() {
                true => Ok(Self::Integer(integer)),
                false => Err(beyond_integers()),
            };
        }
        match raw.parse::<f64>() {
            Err(_) => Err(Invalid::new("number", "is no number")),
            Ok(number) if !number.is_finite() => Err(Invalid::new(
                "number-out-of-range",
                "must be a number that a 64-bit float can hold",
            )),
            // From here on every float is whole, and may already be another than was written.
            #[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
            Ok(number) if number.abs() >= INTEGER_MAX as f64 => Err(beyond_integers()),
            Ok(number) if Written::read(raw) != Written::read(&format!("{number:e}")) => {
                let reason =
                    "has more digits than a 64-bit float keeps; round it or send it as text";
                Err(Invalid::new("number-precision", reason))
            }
            #[expect(clippy::cast_possible_truncation, reason = "whole and far below the limit")]
            Ok(number) if number.fract() == 0.0 => Ok(Self::Integer(number as i64)),
            Ok(number) => Ok(Self::Decimal(number)),
        }
    }
}

fn beyond_integers() -> Invalid {
    let reason = "must lie within -2^53 and 2^53; send larger numbers as text";
    Invalid::new("number-out-of-range", reason)
}

/// The value of a written number: `0.digits` times ten to the power of `exponent`.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Written {
    /// None where the exponent is beyond every float.
    fn read(raw: &str) -> Option<Self> {
        let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
        let (is_negative, mantissa) =
            mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat();
        let telling = digits.trim_start_matches('0');
        if telling.is_empty() {
            return Some(Self { is_negative: false, digits: String::new(), exponent: 0 });
        }
        let leading = i64::try_from(digits.len() - telling.len()).ok()?;
        let exponent = exponent.parse::<i64>().ok()?;
        let exponent = exponent.checked_add(i64::try_from(whole.len()).ok()? - leading)?;
        let digits = telling.trim_end_matches('0').to_owned();
        Some(Self { is_negative, digits, exponent })
    }
}

/// Something that is sold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Product {
    pub(crate) sku: Id,
    pub(crate) name: Name,
    pub(crate) categories: Vec<Id>,
    pub(crate) attributes: BTreeMap<Id, Attribute>,
}

impl Product {
    /// How many categories a product may name.
    pub(crate) fn check_categories(count: usize) -> Result<(), Invalid> {
        if count <= CATEGORIES_MAX {
            return Ok(());
        }
        Err(Invalid::new("count", format!("must be at most {CATEGORIES_MAX}, not {count}")))
    }

    /// How many attributes a product may have.
    pub(crate) fn check_attributes(count: usize) -> Result<(), Invalid> {
        if count <= ATTRIBUTES_MAX {
            return Ok(());
        }
        Err(Invalid::new("count", format!("must be at most {ATTRIBUTES_MAX}, not {count}")))
    }
}

/// A node of the tree in which products are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Category {
    pub(crate) id: Id,
    pub(crate) name: Name,
    pub(crate) parent: Option<Id>,
}

impl Category {
    /// A category may stand before its parent arrives, but not below itself.
    pub(crate) fn new(id: Id, name: Name, parent: Option<Id>) -> Result<Self, Invalid> {
        if parent.as_ref() == Some(&id) {
            return Err(Invalid::new("own-parent", "may not be the category itself"));
        }
        Ok(Self { id, name, parent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable() {
        assert!(Name::parse("Größe 2 – neu").is_ok());
        for bad in ["", "  ", "a\nb", "a\0", &"x".repeat(513)] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_keep_their_value_or_are_refused() {
        use Attribute::{Decimal, Integer};
        for (raw, number) in [
            ("0", Integer(0)),
            ("-0", Integer(0)),
            ("-0.0", Integer(0)),
            ("1.0", Integer(1)),
            ("1e3", Integer(1000)),
            ("0.1", Decimal(0.1)),
            ("-2.5e-3", Decimal(-0.0025)),
            ("0.10", Decimal(0.1)),
            ("0.30000000000000004", Decimal(0.1 + 0.2)),
            ("12.5E+1", Integer(125)),
            ("0e400", Integer(0)),
            ("0.000e-300001", Integer(0)),
            ("-0e-99999999999999999999", Integer(0)),
            ("5e-324", Decimal(5e-324)),
            ("0.0000001", Decimal(1e-7)),
            ("4503599627370495.5", Decimal(4_503_599_627_370_495.5)),
            ("4503599627370497.000", Integer(4_503_599_627_370_497)),
            ("9007199254740992", Integer(1 << 53)),
            ("-9007199254740992", Integer(-(1 << 53))),
        ] {
            assert_eq!(Attribute::number(raw).unwrap(), number, "{raw}");
        }
        let (long, zeros) = ("9".repeat(400), format!("1{}", "0".repeat(400)));
        for raw in [
            "1e400",
            "-1e400",
            &long,
            &zeros,
            "9007199254740993",
            "-9007199254740993",
            "9007199254740993.0",
            "1e16",
            "9223372036854775808",
            "1e308",
        ] {
            assert_eq!(Attribute::number(raw).unwrap_err().code, "number-out-of-range", "{raw}");
        }
    }

    #[test]
    fn numbers_that_a_float_would_change_are_refused() {
        for raw in [
            "1e-400",
            "-1e-400",
            "1e-99999999999999999999",
            "4503599627370497.3",
            "-4503599627370497.3",
            "9007199254740991.4",
            "0.99999999999999999999",
            "1.00000000000000000001",
            "0.1000000000000000000001",
            "3e-324",
        ] {
            assert_eq!(Attribute::number(raw).unwrap_err().code, "number-precision", "{raw}");
        }
    }

    #[test]
    fn text_keeps_its_lines_but_no_control_characters() {
        assert!(Attribute::text("two\nlines\tof text".to_owned()).is_ok());
        assert!(Attribute::text("\u{0}".to_owned()).is_err());
        assert!(Attribute::text("x".repeat(4097)).is_err());
    }

    #[test]
    fn a_category_is_not_its_own_parent() {
        let (id, name) = (Id::parse("a").unwrap(), Name::parse("A").unwrap());
        assert!(Category::new(id.clone(), name.clone(), Some(id.clone())).is_err());
        assert!(Category::new(id, name, Some(Id::parse("b").unwrap())).is_ok());
    }
}
