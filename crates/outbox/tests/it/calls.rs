//! The three calls.
