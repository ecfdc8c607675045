//! Envelopes that are there together and follow each other, as one: whoever lags takes larger
//! batches, and so catches up.

use std::iter::Peekable;
use std::vec;

use contracts::Envelope;

/// Beyond so many changes a batch gains nothing more.
const CHANGES_MAX: usize = 256;
/// So many bytes of envelopes: one transaction must end in a push's time.
const BYTES_MAX: usize = 1 << 20;

/// What was read: how long it was, and what it is or why it cannot be read.
pub(crate) type Read<'a> = (usize, Result<Envelope<'a>, String>);

/// The rest of what is there, in its order.
pub(crate) type Rest<'a> = Peekable<vec::IntoIter<Read<'a>>>;

/// The envelope with those after it that follow it, within bounds, and how many they are.
pub(crate) fn join<'a>(
    (mut bytes, mut envelope): (usize, Envelope<'a>),
    rest: &mut Rest<'a>,
) -> (Envelope<'a>, usize) {
    let mut count = 1;
    while let Some((more, Ok(next))) = rest.next_if(|(more, next)| {
        next.as_ref().is_ok_and(|next| {
            envelope.header.is_followed_by(&next.header)
                && envelope.changes.len() + next.changes.len() <= CHANGES_MAX
                && bytes + more <= BYTES_MAX
        })
    }) {
        envelope.append(next);
        bytes += more;
        count += 1;
    }
    (envelope, count)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use contracts::{Change, Header, Key, Operation, Pn, Source, Stream, Term, Version};
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;

    /// An envelope of these numbers, each with a payload of so many bytes.
    fn bytes(first: i64, last: i64, payload: usize) -> Bytes {
        let term = Term::new(Uuid::from_u128(1));
        let pn = |number| Pn::try_from(number).unwrap();
        let header = Header {
            source: Source::parse("shop").unwrap(),
            stream: Stream::parse("shop.items.normal").unwrap(),
            first: pn(first),
            last: pn(last),
            term,
            previous: term,
            head: pn(last),
            time: chrono::DateTime::UNIX_EPOCH,
            trace: None,
        };
        let change = |number: i64| Change {
            key: Key::parse(&format!("K{number}")).unwrap(),
            version: Version::try_from(1).unwrap(),
            op: Operation::Upsert,
            event: Uuid::from_u128(2),
            at: chrono::DateTime::UNIX_EPOCH,
            trace: None,
            tenant: None,
            schema: "1".to_owned(),
            payload: Some(RawValue::from_string(format!("\"{}\"", "p".repeat(payload))).unwrap()),
        };
        header.encode(&(first..=last).map(change).collect::<Vec<_>>())
    }

    /// How many envelopes each batch is made of.
    fn batches(all: &[Bytes]) -> Vec<usize> {
        let read = |bytes| Envelope::parse(bytes).map_err(|error| error.to_string());
        let all = all.iter().map(|bytes| (bytes.len(), read(bytes)));
        let mut rest = Vec::from_iter(all).into_iter().peekable();
        let mut batches = Vec::new();
        while let Some((bytes, envelope)) = rest.next() {
            batches.push(envelope.map_or(0, |envelope| join((bytes, envelope), &mut rest).1));
        }
        batches
    }

    #[test]
    fn what_follows_is_joined_up_to_256_changes_or_a_mebibyte() {
        let small = |first, last| bytes(first, last, 1);
        assert_eq!(batches(&[small(1, 100), small(101, 200), small(201, 256)]), [3]);
        assert_eq!(batches(&[small(1, 100), small(101, 200), small(201, 257)]), [2, 1]);
        let large = |number| bytes(number, number, 400 << 10);
        assert_eq!(batches(&[large(1), large(2), large(3), large(4)]), [2, 2]);
    }

    #[test]
    fn gaps_repetitions_and_what_cannot_be_read_part_batches() {
        let one = |number| bytes(number, number, 1);
        assert_eq!(batches(&[one(1), one(2), one(4), one(5)]), [2, 2]);
        assert_eq!(batches(&[one(1), one(1), one(2)]), [1, 2]);
        assert_eq!(batches(&[one(1), Bytes::from_static(b"noise"), one(2)]), [1, 0, 1]);
    }
}
