//! Where a run takes place: the servers, the programs, and a folder for logs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

/// The servers and programs of a run; `cargo x bench` starts and names them.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// A PostgreSQL of the run's own, as superuser.
    #[arg(long, env = "TEST_DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
    /// The Redis for streams.
    #[arg(long, env = "TEST_REDIS_URL", hide_env_values = true)]
    pub redis_url: SecretString,
    /// The Redis of the cache.
    #[arg(long, env = "BENCH_CACHE_URL", hide_env_values = true)]
    pub cache_url: SecretString,
    /// The sidecar's program.
    #[arg(long, env = "DAPRD")]
    pub daprd: PathBuf,
    /// The project's component files.
    #[arg(long, env = "BENCH_COMPONENTS")]
    pub components: PathBuf,
    /// Where logs and databases' figures of the run lie meanwhile.
    #[arg(long, env = "BENCH_FOLDER")]
    pub folder: PathBuf,
}

impl Place {
    /// A program that was built beside this one.
    pub fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let this = std::env::current_exe().context("finding this program")?;
        let program = this.parent().unwrap_or(Path::new("/")).join(name);
        anyhow::ensure!(program.is_file(), "{} is not built", program.display());
        Ok(program)
    }

    /// Empties the Redis for streams, as a broker may do at any time.
    pub async fn flush(&self) -> anyhow::Result<()> {
        let client = redis::Client::open(self.redis_url.expose_secret())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
        Ok(())
    }
}
