//! What the worker can be asked to bring up to date, as it is named in the inbox's dirty keys.
//!
//! A category near the root is shown by a great part of all documents. Its change marks one key,
//! which the worker unfolds: first into the categories below, each of them then page by page.

use contracts::{InvalidName, Key};

/// Something the index does not show yet. Keys hold no control characters, so a tab parts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    /// The document of a product.
    Document(Key),
    /// The documents in this category and in all below it.
    Below(Key),
    /// The documents in this category itself, after this one.
    Within(Key, Option<Key>),
}

impl Due {
    /// Reads what `to_key` wrote.
    pub(crate) fn parse(raw: &str) -> Result<Self, InvalidName> {
        let parts: Vec<&str> = raw.split('\t').collect();
        match *parts.as_slice() {
            ["below", category] => Ok(Self::Below(Key::parse(category)?)),
            ["within", category] => Ok(Self::Within(Key::parse(category)?, None)),
            ["within", category, after] => {
                Ok(Self::Within(Key::parse(category)?, Some(Key::parse(after)?)))
            }
            _ => Ok(Self::Document(Key::parse(raw)?)),
        }
    }

    /// The dirty key.
    pub(crate) fn to_key(&self) -> String {
        match self {
            Self::Document(key) => key.to_string(),
            Self::Below(category) => format!("below\t{category}"),
            Self::Within(category, None) => format!("within\t{category}"),
            Self::Within(category, Some(after)) => format!("within\t{category}\t{after}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dirty_key_says_what_is_due_whatever_a_product_is_called() {
        let key = |raw| Key::parse(raw).unwrap();
        for due in [
            Due::Document(key("MH01/XS Black")),
            Due::Document(key("below")),
            Due::Below(key("men")),
            Due::Within(key("men"), None),
            Due::Within(key("men"), Some(key("within"))),
        ] {
            assert_eq!(Due::parse(&due.to_key()).unwrap(), due);
        }
        assert!(Due::parse("within\tmen\t").is_err() && Due::parse("above\tmen").is_err());
    }
}
