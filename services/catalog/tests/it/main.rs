//! Catalog as its callers and its copies see it, over a real database.

mod concurrency;
mod conditions;
mod contract;
mod document;
mod faults;
mod program;
mod proxy;
mod records;
mod refusals;
mod repeats;
mod round_trips;
mod world;
