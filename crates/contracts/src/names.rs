//! The names that travel: source, topic, lane, stream and key.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A name that does not have the form its kind prescribes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {raw:?} is not {expected}")]
pub struct InvalidName {
    kind: &'static str,
    raw: String,
    expected: &'static str,
}

impl InvalidName {
    fn new(kind: &'static str, raw: &str, expected: &'static str) -> Self {
        Self { kind, raw: raw.chars().take(128).collect(), expected }
    }
}

/// The service that owns a kind of entity, for example `catalog`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source(String);

impl Source {
    /// Accepts 1 to 48 characters of `[a-z0-9-]`.
    pub fn parse(raw: &str) -> Result<Self, InvalidName> {
        if is_word(raw, 48) {
            Ok(Self(raw.to_owned()))
        } else {
            Err(InvalidName::new("source", raw, "1 to 48 characters of a-z, 0-9 and -"))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A kind of entity from one source: `{source}.{plural}`, for example `catalog.products`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(String);

impl Topic {
    /// Accepts two words of `[a-z0-9-]`, joined by a dot, of at most 48 characters each.
    pub fn parse(raw: &str) -> Result<Self, InvalidName> {
        match raw.split_once('.') {
            Some((source, plural)) if is_word(source, 48) && is_word(plural, 48) => {
                Ok(Self(raw.to_owned()))
            }
            _ => {
                Err(InvalidName::new("topic", raw, "two words of a-z, 0-9 and -, joined by a dot"))
            }
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The service that owns this topic: its name up to the first dot.
    pub fn source(&self) -> Source {
        Source(self.0.split('.').next().unwrap_or_default().to_owned())
    }
}

/// A priority: each lane has its own workers, so a full one never delays another.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Overtakes the others.
    Critical,
    /// What nearly everything uses.
    #[default]
    Normal,
    /// Imports and other mass changes.
    Bulk,
}

impl Lane {
    /// All lanes, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Normal, Self::Bulk];

    /// Accepts `critical`, `normal` and `bulk`.
    pub fn parse(raw: &str) -> Result<Self, InvalidName> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.as_str() == raw)
            .ok_or_else(|| InvalidName::new("lane", raw, "critical, normal or bulk"))
    }

    /// The name as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}

/// The numbered changes of one topic in one lane; opaque to consumers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stream(String);

impl Stream {
    /// The stream that a source uses for this topic and lane.
    pub fn new(topic: &Topic, lane: Lane) -> Self {
        Self(format!("{}.{}", topic.as_str(), lane.as_str()))
    }

    /// Accepts 1 to 160 characters of `[a-z0-9.-]`.
    pub fn parse(raw: &str) -> Result<Self, InvalidName> {
        let fits = (1..=160).contains(&raw.len());
        if fits && raw.bytes().all(|b| b == b'.' || is_word_byte(b)) {
            Ok(Self(raw.to_owned()))
        } else {
            Err(InvalidName::new("stream", raw, "1 to 160 characters of a-z, 0-9, . and -"))
        }
    }

    /// The name as text; also the broker's topic and the key of its stream.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this stream carries changes of the topic, in whatever lane.
    pub fn belongs_to(&self, topic: &Topic) -> bool {
        self.0.strip_prefix(topic.as_str()).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// The name of one entity within its topic, for example a SKU.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// Accepts 1 to 256 bytes without control characters.
    pub fn parse(raw: &str) -> Result<Self, InvalidName> {
        if (1..=256).contains(&raw.len()) && !raw.chars().any(char::is_control) {
            Ok(Self(raw.to_owned()))
        } else {
            Err(InvalidName::new("key", raw, "1 to 256 bytes without control characters"))
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a record or of one of its parts, as its owner gives it.
///
/// `[A-Za-z0-9._-]{1,64}`, but not `.` or `..`, which every reader of a path takes for a place and
/// not for a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// What an id may be, in words for people.
    pub const FORM: &'static str = "`[A-Za-z0-9._-]{1,64}`, but not `.` or `..`";

    /// Accepts what [`Id::FORM`] says.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let legal = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
        if raw.is_empty() || raw.len() > 64 {
            let reason = format!("must have 1 to 64 characters, not {}", raw.chars().count());
            return Err(Invalid::new("length", reason));
        }
        if [".", ".."].contains(&raw) {
            return Err(Invalid::new("reserved", "may not be '.' or '..', which no path can name"));
        }
        match raw.chars().find(|c| !legal(*c)) {
            None => Ok(Self(raw.to_owned())),
            Some(c) => Err(Invalid::new(
                "illegal-character",
                format!("may only have A-Z, a-z, 0-9, '.', '_' and '-', not {c:?}"),
            )),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_word(raw: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&raw.len()) && raw.bytes().all(is_word_byte)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Source {
    type Error = InvalidName;

    fn try_from(raw: String) -> Result<Self, InvalidName> {
        Self::parse(&raw)
    }
}

impl TryFrom<String> for Topic {
    type Error = InvalidName;

    fn try_from(raw: String) -> Result<Self, InvalidName> {
        Self::parse(&raw)
    }
}

impl TryFrom<String> for Stream {
    type Error = InvalidName;

    fn try_from(raw: String) -> Result<Self, InvalidName> {
        Self::parse(&raw)
    }
}

impl TryFrom<String> for Key {
    type Error = InvalidName;

    fn try_from(raw: String) -> Result<Self, InvalidName> {
        Self::parse(&raw)
    }
}

impl From<Source> for String {
    fn from(name: Source) -> Self {
        name.0
    }
}

impl From<Topic> for String {
    fn from(name: Topic) -> Self {
        name.0
    }
}

impl From<Stream> for String {
    fn from(name: Stream) -> Self {
        name.0
    }
}

impl From<Key> for String {
    fn from(name: Key) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_a_source_and_streams() {
        let topic = Topic::parse("catalog.products").unwrap();
        assert_eq!(topic.source().as_str(), "catalog");
        for lane in Lane::ALL {
            assert!(Stream::new(&topic, lane).belongs_to(&topic));
        }
        let other = Topic::parse("catalog.products-old").unwrap();
        assert!(!Stream::new(&other, Lane::Bulk).belongs_to(&topic));
    }

    #[test]
    fn ill_formed_names_are_refused_with_what_was_expected() {
        for raw in ["", "catalog", "catalog.", ".products", "a.b.c", "Catalog.products", "a b.c"] {
            assert!(Topic::parse(raw).is_err(), "{raw:?}");
        }
        for raw in ["", "a/b", "../x", "A"] {
            assert!(Stream::parse(raw).is_err(), "{raw:?}");
        }
        for raw in ["", "a\u{0}b", "line\nbreak"] {
            assert!(Key::parse(raw).is_err(), "{raw:?}");
        }
        let error = Lane::parse("fast").unwrap_err().to_string();
        assert_eq!(error, "lane \"fast\" is not critical, normal or bulk");
    }
    #[test]
    fn ids_are_of_one_alphabet_and_bounded() {
        for good in ["a", "...", ".a", "MH01-XS-Black", "men.tops_1", &"x".repeat(64)] {
            assert_eq!(Id::parse(good).unwrap().as_str(), good);
        }
        for (bad, code) in [
            ("", "length"),
            (&*"x".repeat(65), "length"),
            ("a b", "illegal-character"),
            ("a/b", "illegal-character"),
            ("größe", "illegal-character"),
            ("a\0", "illegal-character"),
            (".", "reserved"),
            ("..", "reserved"),
        ] {
            assert_eq!(Id::parse(bad).unwrap_err().code, code, "{bad:?}");
        }
    }
}
