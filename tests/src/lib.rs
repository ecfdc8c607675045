//! The system seen from outside: scenarios against a real mesh.
