//! Warehouse as its callers and its copies see it, over a real database.

#![expect(clippy::indexing_slicing, reason = "a surprise fails the test")]

mod contract;
mod document;
mod expiry;
mod faults;
mod imports;
mod locations;
mod mesh;
mod program;
mod race;
mod random;
mod refusals;
mod repeats;
mod reservations;
mod round_trips;
mod stock;
mod world;
