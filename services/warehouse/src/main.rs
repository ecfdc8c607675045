//! The `warehouse` program.

fn main() {}
