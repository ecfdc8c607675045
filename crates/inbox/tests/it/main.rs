//! The inbox against a real PostgreSQL, with a broker and a source that do what a test tells them.

mod careful;
mod cases;
mod commands;
mod deliveries;
mod origin;
mod rebuilds;
mod relayed;
mod sinks;
mod world;
