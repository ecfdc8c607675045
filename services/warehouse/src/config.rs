//! The settings of warehouse.

/// Everything that can be set; each field's text is its manual in `--help`.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// What every service can be told.
    #[command(flatten)]
    pub service: service_kit::Config,

    /// Where its records and its copy lie.
    #[command(flatten)]
    pub database: service_kit::Database,

    /// How other services are reached.
    #[command(flatten)]
    pub bus: bus::Config,

    /// How its copy follows the catalog.
    #[command(flatten)]
    pub inbox: inbox::Config,
}

impl AsRef<service_kit::Config> for Settings {
    fn as_ref(&self) -> &service_kit::Config {
        &self.service
    }
}
