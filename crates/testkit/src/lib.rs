//! For tests only: a database per test, and waiting for a level with a deadline.
