//! The search service on a real database and a real index.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a surprise fails the test")]

mod contracts;
mod document;
mod index;
mod indexer;
mod mesh;
mod parts;
mod prices;
mod replicas;
mod world;
