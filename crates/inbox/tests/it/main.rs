//! The inbox against a real PostgreSQL, with a broker and a source that do what a test tells them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a surprise fails the test")]

mod careful;
mod cases;
mod commands;
mod costs;
mod deliveries;
mod faults;
mod fresh;
mod origin;
mod pace;
mod rebuilds;
mod relayed;
mod sinks;
mod together;
mod trail;
mod world;
