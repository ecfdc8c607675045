//! The operator's command line `syncline`.

fn main() {}
