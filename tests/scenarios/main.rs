//! Scenarios: what a user is promised, shown on a whole mesh.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests index answers and report"
)]

mod api;
mod bare;
mod borders;
mod converge;
mod faults;
mod find;
mod import;
mod rebuild;
mod shop;
mod traces;
mod turns;
mod up;
mod view;
