//! What a relay decides: when to tick, who leads, how to cut envelopes, what to publish next, and
//! how a consumer's position relates to a stream.

mod cut;
mod lease;
mod poll;
mod position;
mod window;

pub use cut::{Limits, Row, cut};
pub use lease::{Input, Lease, Output, Refusal, Seal, Standing};
pub use poll::Poll;
pub use position::{Held, relate};
pub use window::{Answer, Step, Window};
