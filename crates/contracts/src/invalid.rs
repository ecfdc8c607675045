//! Why a value is refused: what every owner's rules answer.

/// Why a value is refused, as one stable word and in words that follow the field's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Invalid {
    /// The rule that it breaks, as one stable word or a few joined by `-`.
    pub code: &'static str,
    /// The rule in words, for example "must have 1 to 64 characters".
    pub reason: String,
}

impl Invalid {
    /// A refusal by this rule.
    pub fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}
