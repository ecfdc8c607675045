//! Where stock lies.

use contracts::{Id, Invalid};

/// The longest text about a location, in characters.
const TEXT_CHARS_MAX: usize = 512;

/// A place that holds stock; all but its id may be unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) id: Id,
    pub(crate) name: Option<Text>,
    pub(crate) city: Option<Text>,
    pub(crate) region: Option<Text>,
    pub(crate) postcode: Option<Text>,
}

impl Location {
    /// A location of which no more is known than that something lies there.
    pub(crate) const fn unknown(id: Id) -> Self {
        Self { id, name: None, city: None, region: None, postcode: None }
    }
}

/// A line of text that people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn parse(raw: &str) -> Result<Self, Invalid> {
        line(raw, TEXT_CHARS_MAX).map(|()| Self(raw.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether this is one line that says something.
pub(super) fn line(raw: &str, chars_max: usize) -> Result<(), Invalid> {
    if raw.chars().count() > chars_max || raw.trim().is_empty() {
        let reason = format!("must have 1 to {chars_max} characters, not only blanks");
        return Err(Invalid::new("length", reason));
    }
    if raw.chars().any(char::is_control) {
        return Err(Invalid::new("illegal-character", "may not have control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_readable_lines() {
        assert_eq!(Text::parse("Mall of America").unwrap().as_str(), "Mall of America");
        for (bad, code) in [
            ("", "length"),
            ("  ", "length"),
            (&*"x".repeat(513), "length"),
            ("a\nb", "illegal-character"),
            ("a\0", "illegal-character"),
        ] {
            assert_eq!(Text::parse(bad).unwrap_err().code, code, "{bad:?}");
        }
    }
}
