//! Catalog as its callers and its copies see it, over a real database.

mod concurrency;
mod conditions;
mod contract;
mod document;
mod faults;
mod flat;
mod imports;
mod program;
mod records;
mod refusals;
mod repeats;
mod resuming;
mod round_trips;
mod world;
