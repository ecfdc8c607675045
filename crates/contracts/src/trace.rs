//! W3C trace context as text, carried from the HTTP request to every consumer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text that is no `traceparent` of version 00.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("text is not a W3C traceparent of version 00")]
pub struct InvalidTrace;

/// A `traceparent` of version 00: `00-{32 hex}-{16 hex}-{2 hex}`, ids not all zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext(String);

impl TraceContext {
    /// Accepts a well-formed `traceparent` of version 00.
    pub fn parse(raw: &str) -> Result<Self, InvalidTrace> {
        let mut parts = raw.split('-');
        let well_formed = parts.next() == Some("00")
            && parts.next().is_some_and(|id| is_id(id, 32))
            && parts.next().is_some_and(|id| is_id(id, 16))
            && parts.next().is_some_and(|flags| is_hex(flags, 2))
            && parts.next().is_none();
        if well_formed { Ok(Self(raw.to_owned())) } else { Err(InvalidTrace) }
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether somebody records it: the last bit of its flags.
    pub fn is_sampled(&self) -> bool {
        let flags = self.0.rsplit('-').next().and_then(|flags| u8::from_str_radix(flags, 16).ok());
        flags.is_some_and(|flags| flags & 1 == 1)
    }
}

fn is_hex(raw: &str, len: usize) -> bool {
    raw.len() == len && raw.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_id(raw: &str, len: usize) -> bool {
    is_hex(raw, len) && raw.bytes().any(|b| b != b'0')
}

impl TryFrom<String> for TraceContext {
    type Error = InvalidTrace;

    fn try_from(raw: String) -> Result<Self, InvalidTrace> {
        Self::parse(&raw)
    }
}

impl From<TraceContext> for String {
    fn from(trace: TraceContext) -> Self {
        trace.0
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_recorded_where_the_last_bit_of_its_flags_says_so() {
        let flagged = |flags: &str| {
            let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            TraceContext::parse(&text).unwrap().is_sampled()
        };
        assert!(flagged("01") && flagged("0b") && flagged("ff"));
        assert!(!flagged("00") && !flagged("0a") && !flagged("10"));
    }

    #[test]
    fn only_a_well_formed_traceparent_is_accepted() {
        assert!(
            TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").is_ok()
        );
        for raw in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        ] {
            assert!(TraceContext::parse(raw).is_err(), "{raw:?}");
        }
    }
}
