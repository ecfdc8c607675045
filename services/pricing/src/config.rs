//! The settings of pricing.

/// Everything that can be set; each field's text is its manual in `--help`.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// What every service must know.
    #[command(flatten)]
    pub service: service_kit::Config,

    /// Where its records and copies lie.
    #[command(flatten)]
    pub database: service_kit::Database,

    /// How other services are reached.
    #[command(flatten)]
    pub bus: bus::Config,

    /// How its copies follow their sources.
    #[command(flatten)]
    pub inbox: inbox::Config,
}

impl AsRef<service_kit::Config> for Settings {
    fn as_ref(&self) -> &service_kit::Config {
        &self.service
    }
}
