//! Relay: seals the outboxes of its sources, publishes them, answers their consumers.
