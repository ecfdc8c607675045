//! Records that a service owns, as HTTP sees them: read with their state, written once and only in
//! the state that the caller names, imported line by line.
