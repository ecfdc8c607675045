//! What is asked of a lane of Syncline, scenario by scenario, and what came of it.

mod critical;
mod found;
mod held;
mod idle;
mod import;
mod kills;
mod load;
mod many;
mod outage;
mod steps;
mod writing;

use std::time::Duration;

pub use critical::critical;
pub use found::found;
pub use held::held;
pub use idle::{idle, overhead};
pub use import::import;
pub use kills::kills;
pub use load::{Load, load, write};
pub use many::many;
pub use outage::outage;

pub(crate) use writing::Writer;

/// How long everything may take to be applied after the last write.
const DRAIN_LIMIT: Duration = Duration::from_secs(300);
