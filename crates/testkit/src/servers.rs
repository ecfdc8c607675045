//! The servers that a test may use, as named by `cargo x test`.

use clap::Parser as _;

/// Where the private servers of this test run are.
#[derive(Debug, Clone, clap::Parser)]
#[command(no_binary_name = true)]
pub struct Servers {
    /// Superuser URL of a PostgreSQL server with durable settings.
    #[arg(long, env = "TEST_DATABASE_URL")]
    pub database_url: String,
    /// URL of a Redis server.
    #[arg(long, env = "TEST_REDIS_URL")]
    pub redis_url: String,
    /// Redis' program, for tests that kill theirs.
    #[arg(long, env = "TEST_REDIS_SERVER", default_value = "redis-server")]
    pub redis_server: String,
    /// Path of the Dapr sidecar's program.
    #[arg(long, env = "DAPRD")]
    pub daprd: Option<String>,
    /// Path of the local runner's program.
    #[arg(long, env = "SYNCLINE_X")]
    pub runner: Option<String>,
}

impl Servers {
    /// Reads the environment; fails with a sentence that says how tests are run.
    pub fn from_env() -> anyhow::Result<Self> {
        let nothing: [&str; 0] = [];
        Self::try_parse_from(nothing)
            .map_err(|error| anyhow::anyhow!("run tests with `cargo x test`: {error}"))
    }
}
