//! Scenarios: what a user is promised, shown on a whole mesh.

mod converge;
mod find;
mod rebuild;
mod up;
