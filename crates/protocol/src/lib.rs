//! Decisions that must survive crashes, repeats and disorder, as pure state machines.

pub mod reader;
pub mod relay;
pub mod retry;
