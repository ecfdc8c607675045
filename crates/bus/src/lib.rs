//! Carries envelopes from a relay to its consumers, and questions between services; may lose, repeat and reorder.
