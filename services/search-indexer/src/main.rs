//! The `search-indexer` program.

fn main() {}
