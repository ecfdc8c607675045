//! Decisions that must survive crashes, repeats and disorder, as pure state machines.
