//! For tests only: servers from the environment or a test's own, and waiting with a deadline.
//!
//! `cargo x test` starts a private PostgreSQL and Redis and names them in the environment.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let database = testkit::Database::create("outbox").await?;
//! database.migrate("outbox", &[("V1__create", "create table outbox.x (n int)")]).await?;
//! let client = database.connect().await?;
//! client.batch_execute("insert into outbox.x values (1)").await?;
//! # Ok(())
//! # }
//! ```

mod database;
mod eventually;
mod fault_proxy;
mod lockstep;
mod ports;
mod proxy;
mod redis;
mod servers;
mod sidecar;
mod slow;

pub use database::{Database, connect};
pub use eventually::{eventually, within};
pub use fault_proxy::{
    Bites, Delivered, Deliveries, DeliveryProxy, Fault, FaultProxy, Target, target,
};
pub use lockstep::{Lockstep, Trip};
pub use ports::quiet_ports;
pub use proxy::Proxy;
pub use redis::RedisServer;
pub use servers::Servers;
pub use sidecar::{Sidecar, Sidecars};
pub use slow::{Manner, Slow, allow_connections};
