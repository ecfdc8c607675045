//! What crosses a service border: ids, the envelope, the three calls, entity contracts.
