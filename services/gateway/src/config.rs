//! The settings of the gateway.

/// Every setting of the gateway.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// What every service has.
    #[command(flatten)]
    pub service: service_kit::Config,

    /// What it has heard of its owners' records.
    #[command(flatten)]
    pub database: service_kit::Database,

    /// How it reaches the others.
    #[command(flatten)]
    pub bus: bus::Config,

    /// How it follows its sources.
    #[command(flatten)]
    pub inbox: inbox::Config,

    /// Where it keeps composed views.
    #[command(flatten)]
    pub cache: cache::Config,

    /// Base URL of catalog; imports always go there, everything else only where no sidecar runs
    #[arg(long, env = "CATALOG_URL", value_name = "URL")]
    pub catalog_url: String,

    /// Base URL of pricing; imports always go there, everything else only where no sidecar runs
    #[arg(long, env = "PRICING_URL", value_name = "URL")]
    pub pricing_url: String,

    /// Base URL of warehouse; imports always go there, everything else only where no sidecar runs
    #[arg(long, env = "WAREHOUSE_URL", value_name = "URL")]
    pub warehouse_url: String,

    /// Base URL of search-indexer; asked there only where no sidecar runs
    #[arg(long, env = "SEARCH_INDEXER_URL", value_name = "URL")]
    pub search_indexer_url: String,

    /// Longest that a service behind the gateway may take to answer, in milliseconds
    #[arg(long, env = "ANSWER_MS_MAX", default_value_t = 5_000, value_name = "MS")]
    pub answer_ms_max: u64,

    /// Longest that the owner of a part of a view may take to answer where a copy of the part is at
    /// hand, in milliseconds
    #[arg(long, env = "PART_MS_MAX", default_value_t = 500, value_name = "MS")]
    pub part_ms_max: u64,
}

impl AsRef<service_kit::Config> for Settings {
    fn as_ref(&self) -> &service_kit::Config {
        &self.service
    }
}
