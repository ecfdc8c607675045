//! The program from outside, against services that answer what a test tells them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a surprise fails the test")]

mod fake;
mod import;
mod lag;
mod locate;
