//! Settings of a relay; each field's text is its manual in `--help`.

use std::time::Duration;

/// How a relay behaves; flatten it into the program's settings.
// Flattened beside other settings of this name, of which clap would make equal groups.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Most connections per source for answering consumers, beside the one that ticks.
    #[arg(long, env = "RELAY_CONNECTIONS_MAX", default_value_t = 6, value_name = "N")]
    pub connections_max: usize,

    /// Longest that a seal may take, in milliseconds; doubled after each one that took longer,
    /// since the next has more to number.
    #[arg(long, env = "RELAY_TICK_MS_MAX", default_value_t = 4_000, value_name = "MS")]
    pub tick_ms_max: u64,

    /// Longest that one publish may take before its outcome counts as unknown, in milliseconds.
    #[arg(long, env = "RELAY_PUBLISH_MS_MAX", default_value_t = 5_000, value_name = "MS")]
    pub publish_ms_max: u64,

    /// How often a standby looks whether the leader is gone, in milliseconds; below 5 s, too.
    #[arg(long, env = "RELAY_STANDBY_MS", default_value_t = 500, value_name = "MS")]
    pub standby_ms: u64,
}

impl Config {
    pub(crate) const fn tick_limit(&self) -> Duration {
        Duration::from_millis(self.tick_ms_max)
    }

    pub(crate) const fn publish_limit(&self) -> Duration {
        Duration::from_millis(self.publish_ms_max)
    }

    pub(crate) const fn standby(&self) -> Duration {
        Duration::from_millis(self.standby_ms)
    }

    /// Whether the limits agree with the session's: a longer silence would end the session, and a
    /// limit of 0 is none to the database.
    pub(crate) const fn is_sound(&self) -> bool {
        self.connections_max > 0 && self.tick_ms_max > 0 && self.standby_ms < 5_000
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { connections_max: 6, tick_ms_max: 4_000, publish_ms_max: 5_000, standby_ms: 500 }
    }
}
