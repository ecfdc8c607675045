//! The settings of the cache.

use std::time::Duration;

use secrecy::SecretString;

/// Where the cache is and how long it keeps what.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// The cache's own Redis, for example `redis://:secret@127.0.0.1:6380`; a single instance
    /// without persistence and replicas, with `maxmemory-policy allkeys-lru` or `allkeys-lfu`
    #[arg(long, env = "CACHE_URL", hide_env_values = true, value_name = "URL")]
    pub cache_url: SecretString,

    /// Longest that a value is current without being read again from its owners, in milliseconds
    #[arg(long, env = "CACHE_CURRENT_MS_MAX", default_value_t = 600_000, value_name = "MS")]
    pub cache_current_ms_max: u64,

    /// How long a value that is no longer current is kept, for the case that an owner cannot be
    /// reached, in milliseconds
    #[arg(long, env = "CACHE_OLD_MS_MAX", default_value_t = 86_400_000, value_name = "MS")]
    pub cache_old_ms_max: u64,

    /// Longest that the cache may keep a request waiting before it is answered without it, in
    /// milliseconds
    #[arg(long, env = "CACHE_ANSWER_MS_MAX", default_value_t = 100, value_name = "MS")]
    pub cache_answer_ms_max: u64,
}

impl Config {
    pub(crate) const fn answer_limit(&self) -> Duration {
        Duration::from_millis(self.cache_answer_ms_max)
    }
}
