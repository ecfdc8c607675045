//! Starts a whole private mesh, writes to it, breaks it, and reads its databases from outside.
//!
//! Scenarios know the mesh as a user does: the local runner starts it, HTTP reaches it, and what it
//! claims is recomputed from its databases.

mod backup;
mod mesh;
mod proof;
mod watch;
mod writers;

pub use backup::Backup;
pub use mesh::{Frozen, Mesh, Part, Status, Without};
pub use proof::{Books, COPIES, Ends, Equal};
pub use watch::Watch;
pub use writers::{Answers, Tally, Writers};
