//! Settings that every service has; each field's text is its manual in `--help`.

use std::{net::SocketAddr, time::Duration};

use secrecy::SecretString;

use crate::Error;

/// The settings of a service that are not its own; flatten it into the service's settings.
#[derive(Debug, Clone, clap::Args)]
// As clap groups, all the types named `Config` that a service flattens would be one.
#[group(skip)]
pub struct Config {
    /// Address to serve HTTP on.
    #[arg(long, env = "LISTEN", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// Largest request body, in bytes.
    #[arg(long, env = "HTTP_BODY_BYTES_MAX", default_value_t = 1 << 20, value_name = "BYTES")]
    pub http_body_bytes_max: usize,

    /// Longest that one request may take, in milliseconds.
    #[arg(long, env = "HTTP_REQUEST_MS_MAX", default_value_t = 15_000, value_name = "MS")]
    pub http_request_ms_max: u64,

    /// Longest pause inside a request body, in milliseconds.
    #[arg(long, env = "HTTP_BODY_PAUSE_MS_MAX", default_value_t = 5_000, value_name = "MS")]
    pub http_body_pause_ms_max: u64,

    /// Longest that a new connection may stay without its first complete request head, in
    /// milliseconds.
    #[arg(long, env = "HTTP_FIRST_HEAD_MS_MAX", default_value_t = 10_000, value_name = "MS")]
    pub http_first_head_ms_max: u64,

    /// Longest that a connection may stay without a further complete request head, in milliseconds;
    /// longer than the 90 s after which the sidecar closes its idle connections itself.
    #[arg(long, env = "HTTP_IDLE_MS_MAX", default_value_t = 120_000, value_name = "MS")]
    pub http_idle_ms_max: u64,

    /// Most requests in work at one time; more are answered 503. One that waits for the rest of its
    /// body from its caller is not in work.
    #[arg(long, env = "HTTP_REQUESTS_MAX", default_value_t = 512, value_name = "N")]
    pub http_requests_max: usize,

    /// Most open connections at one time; a further one takes the place of the one that was silent
    /// longest, or waits where all are in work.
    #[arg(long, env = "HTTP_CONNECTIONS_MAX", default_value_t = 2048, value_name = "N")]
    pub http_connections_max: usize,

    /// How long to serve on after saying "not ready", in milliseconds, so that callers look away.
    #[arg(long, env = "SHUTDOWN_DELAY_MS", default_value_t = 0, value_name = "MS")]
    pub shutdown_delay_ms: u64,

    /// Longest that requests in work and tasks may take to end at shutdown, in milliseconds; not
    /// shorter than a request may take.
    #[arg(long, env = "SHUTDOWN_MS_MAX", default_value_t = 15_000, value_name = "MS")]
    pub shutdown_ms_max: u64,

    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: Telemetry,
}

/// The settings of a service's own database; flatten it into the settings of a service that has
/// one, which is then offered `migrate` too.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Database {
    /// The service's own database, for example `postgres://catalog@127.0.0.1/catalog`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<SecretString>,

    /// Most connections to the database at one time.
    #[arg(long, env = "DATABASE_CONNECTIONS_MAX", default_value_t = 16, value_name = "N")]
    pub database_connections_max: usize,

    /// Longest that one statement may run, in milliseconds.
    #[arg(long, env = "DATABASE_STATEMENT_MS_MAX", default_value_t = 10_000, value_name = "MS")]
    pub database_statement_ms_max: u32,

    /// How long to wait at start for the database to answer, in milliseconds.
    #[arg(long, env = "DATABASE_START_MS_MAX", default_value_t = 30_000, value_name = "MS")]
    pub database_start_ms_max: u64,
}

const LOG_FILTER: &str = "info,refinery_core=warn,tokio_postgres=warn";

/// Where logs and traces go.
#[derive(Debug, Clone, clap::Args)]
pub struct Telemetry {
    /// What to log, for example `info` or `info,inbox=debug`; the default leaves out two talkative
    /// libraries.
    #[arg(long, env = "LOG_FILTER", default_value = LOG_FILTER, value_name = "FILTER")]
    pub log_filter: String,

    /// Form of a log line.
    #[arg(long, env = "LOG_FORMAT", default_value = "auto", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Collector to send traces to by gRPC; without it no traces leave the process.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON anywhere else.
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Refuses settings of which one takes back what another promises.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let contradictions = [
            (
                self.shutdown_ms_max < self.http_request_ms_max,
                "SHUTDOWN_MS_MAX is below HTTP_REQUEST_MS_MAX: the end of the service would cut \
                 requests that are still in time; raise the first or lower the second",
            ),
            (
                self.http_idle_ms_max < self.http_first_head_ms_max,
                "HTTP_IDLE_MS_MAX is below HTTP_FIRST_HEAD_MS_MAX: a new connection would be \
                 closed before its time for a first head is over; raise the first or lower the \
                 second",
            ),
            (
                self.http_requests_max == 0 || self.http_body_bytes_max == 0,
                "HTTP_REQUESTS_MAX or HTTP_BODY_BYTES_MAX is 0: every request would be refused; \
                 set at least 1",
            ),
        ];
        let first = contradictions.into_iter().find_map(|(is, why)| is.then_some(why));
        first.map_or(Ok(()), |why| Err(Error::Settings(why)))
    }

    pub(crate) fn shutdown_limit(&self) -> Duration {
        Duration::from_millis(self.shutdown_ms_max)
    }
}
