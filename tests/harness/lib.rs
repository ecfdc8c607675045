//! Starts a whole private mesh, writes to it, breaks it, and reads its databases from outside.
//!
//! Scenarios know the mesh as a user does: the local runner starts it, HTTP reaches it, and what it
//! claims is recomputed from its databases.

mod mesh;
mod writers;

pub use mesh::{Mesh, Part, Status};
pub use writers::{Tally, Writers};
