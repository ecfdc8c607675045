//! The settings of catalog.

use service_kit::{Config, Database};

/// What catalog must know: nothing beyond what every service with a database must.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// What every service must know.
    #[command(flatten)]
    pub service: Config,

    /// Where its records lie.
    #[command(flatten)]
    pub database: Database,
}

impl AsRef<Config> for Settings {
    fn as_ref(&self) -> &Config {
        &self.service
    }
}
