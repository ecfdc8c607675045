//! The benchmark's parts against real servers and the real machine.

mod limit;
mod machine;
mod plain;
mod stall;
