//! What crosses a service border: names, numbers, the envelope, the three calls, entity contracts.
//!
//! Pure data. Everything is parsed once, at the border, into a type that cannot be wrong inside;
//! nothing here knows a database, a clock or a network. Wire shapes only ever grow: a field may be
//! added, none is changed, and a new meaning is a new `type`.
//!
//! ```
//! use contracts::{Lane, Stream, Topic};
//!
//! let topic = Topic::parse("catalog.products")?;
//! assert_eq!(topic.source().as_str(), "catalog");
//! assert_eq!(Stream::new(&topic, Lane::Normal).as_str(), "catalog.products.normal");
//! # Ok::<(), contracts::InvalidName>(())
//! ```

pub mod calls;
mod chain;
mod contract;
mod digest;
mod envelope;
mod invalid;
mod names;
mod numbers;
mod problem;
mod trace;

pub use chain::chain;
pub use contract::{Classification, Contract, ContractError, Field, Resolution, Schema};
pub use digest::Digest;
pub use envelope::{
    Change, Envelope, EnvelopeError, Header, MEDIA_TYPE, Operation, TYPE, UnreadableChange,
};
pub use invalid::Invalid;
pub use names::{Id, InvalidName, Key, Lane, Source, Stream, Topic};
pub use numbers::{InvalidNumber, Pn, Term, Version};
pub use problem::{FieldProblem, Problem};
pub use trace::{InvalidTrace, TraceContext};
