//! The `bench-consumer` program.

fn main() {}
