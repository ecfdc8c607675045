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
