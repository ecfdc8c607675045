//! The `catalog` program.

fn main() {}
