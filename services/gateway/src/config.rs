//! The settings of the gateway.

/// Every setting of the gateway.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// What every service has.
    #[command(flatten)]
    pub service: service_kit::Config,

    /// How it reaches the others.
    #[command(flatten)]
    pub bus: bus::Config,

    /// Base URL of catalog, asked directly; required where no sidecar runs.
    #[arg(long, env = "CATALOG_URL", value_name = "URL")]
    pub catalog_url: Option<String>,

    /// Base URL of search-indexer, asked directly; required where no sidecar runs.
    #[arg(long, env = "SEARCH_INDEXER_URL", value_name = "URL")]
    pub search_indexer_url: Option<String>,

    /// Longest that a service behind the gateway may take to answer, in milliseconds.
    #[arg(long, env = "ANSWER_MS_MAX", default_value_t = 5_000, value_name = "MS")]
    pub answer_ms_max: u64,
}

impl AsRef<service_kit::Config> for Settings {
    fn as_ref(&self) -> &service_kit::Config {
        &self.service
    }
}
