//! Appends changes in the owner's transaction; the relay seals, publishes and serves them.
