//! What is asked of the cache and what it answers.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use protocol::cache::{Lease as Token, Vector, Version};
use redis::ParsingError;

const PART: &[u8] = b"part/";

/// The name of one entry.
///
/// The namespace is a random id of the caller: with another one nothing that was ever stored is
/// found any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// The entry of this kind and key in this namespace.
    pub fn new(namespace: impl fmt::Display, kind: &str, key: &str) -> Self {
        Self(format!("{namespace}:{kind}:{key}"))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a look finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// A current value, unless the one who asks is behind its sources.
    Hit(Entry),
    /// No current value.
    Miss {
        /// What a fill needs. Whatever is filled in must be read after this answer came.
        lease: Lease,
        /// The last known value, for the case that an owner cannot be reached; flagged stale only.
        old: Option<Entry>,
    },
}

/// The right to fill one entry, until something of it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub(crate) key: Key,
    pub(crate) token: Token,
    pub(crate) given_ms: u64,
}

/// A value with what it was composed of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bytes that were filled in.
    pub value: Bytes,
    /// The version of each part that was there.
    pub vector: Vector,
    /// When its parts began to be read, since the epoch, by the clock of the cache.
    pub filled_at: Duration,
    /// How long that was ago when it was looked at, by the clock of the cache.
    pub age: Duration,
}

/// A part of an entry has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalidation {
    /// The entry.
    pub key: Key,
    /// The name of the part.
    pub part: String,
    /// The version that it has now; a value that shows it stays. `None` ends every value, for what
    /// no version tells.
    pub version: Option<Version>,
}

/// The answer of the script: its time, the lease or nothing, and what lies there.
pub(crate) type Found = (u64, Bytes, Vec<(Bytes, Bytes)>);

/// Reads the answer of the script about this entry.
pub(crate) fn look(key: &Key, (now_ms, lease, fields): Found) -> Result<Look, ParsingError> {
    match (entry(now_ms, fields)?, lease.is_empty()) {
        (Some(entry), true) => Ok(Look::Hit(entry)),
        (None, true) => Err("a current entry without a value".into()),
        (old, false) => {
            let token = Token::new(number(&lease, |text| u128::from_str_radix(text, 16))?);
            Ok(Look::Miss { lease: Lease { key: key.clone(), token, given_ms: now_ms }, old })
        }
    }
}

fn entry(now_ms: u64, fields: Vec<(Bytes, Bytes)>) -> Result<Option<Entry>, ParsingError> {
    let (mut value, mut filled_ms, mut vector) = (None, now_ms, Vector::new());
    for (name, content) in fields {
        match &*name {
            b"value" => value = Some(content),
            b"read" => filled_ms = number(&content, str::parse::<u64>)?,
            name => {
                let Some(part) = name.strip_prefix(PART) else { continue };
                let part = str::from_utf8(part).map_err(|_| "a part whose name is no text")?;
                vector.set(part, number(&content, Version::parse)?);
            }
        }
    }
    Ok(value.map(|value| Entry {
        value,
        vector,
        filled_at: Duration::from_millis(filled_ms),
        age: Duration::from_millis(now_ms.saturating_sub(filled_ms)),
    }))
}

fn number<T, E>(raw: &[u8], parse: impl Fn(&str) -> Result<T, E>) -> Result<T, ParsingError> {
    let parsed = str::from_utf8(raw).ok().and_then(|text| parse(text).ok());
    parsed.ok_or_else(|| "an entry with a broken number".into())
}
