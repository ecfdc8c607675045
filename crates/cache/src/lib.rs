//! A cache in Redis that never gives an old value as current.
