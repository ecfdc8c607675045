//! The `pricing` program.

fn main() {}
