//! The settings of catalog.

use service_kit::Config;

/// What catalog must know: nothing beyond what every service must.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// What every service must know.
    #[command(flatten)]
    pub service: Config,
}

impl AsRef<Config> for Settings {
    fn as_ref(&self) -> &Config {
        &self.service
    }
}
