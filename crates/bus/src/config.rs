//! The settings of the bus.

use std::fmt;

use clap::ValueEnum;
use secrecy::SecretString;

/// How a service reaches the others.
// Flattened beside other settings of this name, of which clap would make equal groups.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// How envelopes travel: by the sidecar, by Redis streams without one, or not at all (consumers
    /// then read the feed alone)
    #[arg(long, env = "TRANSPORT", default_value = "dapr")]
    pub transport: Transport,
    /// Redis for streams, as `redis://:<password>@<host>:<port>`; required with transport redis,
    /// and with transport dapr only looked at: one that would drop streams is refused
    #[arg(long, env = "REDIS_URL", hide_env_values = true, required_if_eq("transport", "redis"))]
    pub redis_url: Option<SecretString>,
    /// HTTP port of this service's sidecar
    #[arg(long, env = "DAPR_HTTP_PORT", default_value_t = 3500)]
    pub dapr_http_port: u16,
    /// gRPC port of this service's sidecar
    #[arg(long, env = "DAPR_GRPC_PORT", default_value_t = 50001)]
    pub dapr_grpc_port: u16,
    /// Port of this service's sidecar for its metrics; where it is known, a sidecar that would not
    /// try deliveries again is refused
    #[arg(long, env = "DAPR_METRICS_PORT")]
    pub dapr_metrics_port: Option<u16>,
    /// What this service shows to its sidecar; required with transport dapr
    #[arg(
        long,
        env = "DAPR_API_TOKEN",
        hide_env_values = true,
        required_if_eq("transport", "dapr")
    )]
    pub dapr_api_token: Option<SecretString>,
    /// What sidecars and other services show to this one, and this one to them
    #[arg(long, env = "APP_API_TOKEN", hide_env_values = true)]
    pub app_api_token: SecretString,
}

/// A way for envelopes to travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Through the Dapr sidecar and its broker.
    Dapr,
    /// Through Redis streams, without a sidecar.
    Redis,
    /// Inside this process, for tests.
    #[value(skip)]
    Memory,
    /// Not at all: consumers read the feed.
    None,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dapr => "dapr",
            Self::Redis => "redis",
            Self::Memory => "memory",
            Self::None => "none",
        })
    }
}
