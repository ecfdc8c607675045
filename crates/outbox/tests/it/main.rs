//! The outbox and its relay against a real PostgreSQL.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a surprise fails the test")]

mod append;
mod calls;
mod fence;
mod many;
mod proxy;
mod publish;
mod rights;
mod tick;
mod trail;
mod tx;
mod world;
mod writers;
