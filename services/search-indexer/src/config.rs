//! The settings of the search service.

use std::path::PathBuf;

/// Everything that can be set; each field's text is its manual in `--help`.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// What every service can be told.
    #[command(flatten)]
    pub(crate) service: service_kit::Config,

    /// Where its copies lie.
    #[command(flatten)]
    pub(crate) database: service_kit::Database,

    /// How other services are reached.
    #[command(flatten)]
    pub(crate) bus: bus::Config,

    /// How this copy follows its sources.
    #[command(flatten)]
    pub(crate) inbox: inbox::Config,

    /// Folder of the search index, of this process alone; made, and written anew from the
    /// database, where it is missing or does not agree with it
    #[arg(long, env = "INDEX_DIR", value_name = "FOLDER")]
    pub(crate) index_dir: PathBuf,
}

impl AsRef<service_kit::Config> for Settings {
    fn as_ref(&self) -> &service_kit::Config {
        &self.service
    }
}
