//! The developer's commands: `cargo x up`, `test`, `check` and their kin.

fn main() {}
