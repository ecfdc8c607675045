//! A service as its callers, its database and its supervisor see it.

mod database;
mod ending;
mod faults;
mod migrating;
mod serving;
mod streams;
mod world;
