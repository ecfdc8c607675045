//! The outbox and its relay against a real PostgreSQL.

mod append;
mod calls;
mod fence;
mod publish;
mod tick;
mod tx;
mod world;
mod writers;
