//! Entries of a stream, taken out of an answer without copying what they carry.

use bytes::Bytes;
use redis::Value;

/// One entry, as Dapr and this transport write it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: Vec<u8>,
    /// The envelope; none if the entry was trimmed meanwhile, or if somebody else wrote it.
    pub(super) body: Option<Bytes>,
}

/// What `XREADGROUP` of one stream answered; nothing when it waited in vain.
pub(super) fn read(answer: Value) -> Vec<Entry> {
    let named = match answer {
        Value::Array(streams) => streams.into_iter().next().and_then(|pair| {
            let Value::Array(pair) = pair else { return None };
            pair.into_iter().nth(1)
        }),
        Value::Map(streams) => streams.into_iter().next().map(|(_, entries)| entries),
        _ => None,
    };
    named.map(entries).unwrap_or_default()
}

/// What `XAUTOCLAIM` answered: where to go on, and what was claimed.
pub(super) fn claimed(answer: Value) -> Option<(Vec<u8>, Vec<Entry>)> {
    let Value::Array(parts) = answer else { return None };
    let mut parts = parts.into_iter();
    let Some(Value::BulkString(next)) = parts.next() else { return None };
    Some((next, parts.next().map(entries).unwrap_or_default()))
}

fn entries(value: Value) -> Vec<Entry> {
    let Value::Array(values) = value else { return Vec::new() };
    values.into_iter().filter_map(entry).collect()
}

fn entry(value: Value) -> Option<Entry> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let Some(Value::BulkString(id)) = parts.next() else { return None };
    let body = match parts.next() {
        Some(Value::Array(fields)) => body(fields),
        _ => None,
    };
    Some(Entry { id, body })
}

/// The sidecar writes the fields in any order.
fn body(fields: Vec<Value>) -> Option<Bytes> {
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if let (Value::BulkString(name), Value::BulkString(value)) = (name, value)
            && name == b"data"
        {
            return Some(value.into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn list(values: impl Into<Vec<Value>>) -> Value {
        Value::Array(values.into())
    }

    fn two_entries() -> Value {
        let first = list([text("metadata"), text("{}"), text("data"), text("a")]);
        let foreign = list([text("note"), text("data")]);
        list([list([text("1-0"), first]), list([text("2-0"), foreign])])
    }

    fn expected() -> Vec<Entry> {
        let entry = |id: &str, body: Option<&'static str>| Entry {
            id: id.as_bytes().to_vec(),
            body: body.map(|text| Bytes::from_static(text.as_bytes())),
        };
        vec![entry("1-0", Some("a")), entry("2-0", None)]
    }

    #[test]
    fn entries_are_read_in_both_forms_of_the_protocol() {
        let second = list([list([text("catalog.products.normal"), two_entries()])]);
        assert_eq!(read(second), expected());
        let third = Value::Map(vec![(text("catalog.products.normal"), two_entries())]);
        assert_eq!(read(third), expected());
        assert_eq!(read(Value::Nil), []);
    }

    #[test]
    fn a_claim_names_where_to_go_on_and_survives_what_was_trimmed() {
        let answer = list([text("3-0"), two_entries(), list([text("0-9")])]);
        assert_eq!(claimed(answer), Some((b"3-0".to_vec(), expected())));
        let trimmed = list([text("0-0"), list([Value::Nil])]);
        assert_eq!(claimed(trimmed), Some((b"0-0".to_vec(), Vec::new())));
    }
}
