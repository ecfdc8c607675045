//! The benchmark: what a change costs and how long it takes, beside what this machine could do.

pub mod clock;
pub mod figures;
