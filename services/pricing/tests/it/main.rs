//! Pricing as its callers and its copies see it, over a real database.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a surprise fails the test")]

mod boundaries;
mod concurrency;
mod contract;
mod document;
mod imports;
mod mesh;
mod program;
mod records;
mod refusals;
mod round_trips;
mod world;
