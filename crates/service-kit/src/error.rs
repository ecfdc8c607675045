//! What can go wrong while a service starts, runs or migrates.

use std::net::SocketAddr;

/// Any error, where only its chain of causes matters.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a service did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter is not understood.
    #[error("read log filter {filter:?}")]
    LogFilter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Traces or metrics cannot be set up.
    #[error("set up telemetry")]
    Telemetry(#[source] BoxError),
    /// Two settings do not go together.
    #[error("check the settings: {0}")]
    Settings(&'static str),
    /// There could be more connections than files.
    #[error(
        "check the settings: HTTP_CONNECTIONS_MAX {connections_max} needs {needed} open files, and \
         the process may have {maximum}: raise `ulimit -Hn` or lower HTTP_CONNECTIONS_MAX"
    )]
    OpenFiles {
        /// As many connections may be open.
        connections_max: usize,
        /// For them and everything else.
        needed: u64,
        /// What the system allows.
        maximum: u64,
    },
    /// The system says that it allows more open files, and refuses them.
    #[error("allow {needed} open files")]
    RaiseFiles {
        /// As many as were asked for.
        needed: u64,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The program needs a database and was given none.
    #[error("find database: DATABASE_URL is not set")]
    NoDatabase,
    /// `DATABASE_URL` is no PostgreSQL URL.
    #[error("read DATABASE_URL")]
    DatabaseUrl(#[source] tokio_postgres::Error),
    /// The pool refuses its settings.
    #[error("build database pool")]
    Pool(#[source] deadpool_postgres::BuildError),
    /// The database does not answer.
    #[error("connect to the database")]
    Connect(#[source] BoxError),
    /// The database answers but must not be used.
    #[error("check the database: {0}")]
    UnfitDatabase(String),
    /// A statement of our own failed.
    #[error("ask the database")]
    Statement(#[from] tokio_postgres::Error),
    /// A migration failed, or an applied one was edited.
    #[error("migrate schema {schema}")]
    Migrate {
        /// The schema.
        schema: String,
        /// Which migration and why.
        #[source]
        source: BoxError,
    },
    /// The address is taken or not ours.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Signals cannot be received.
    #[error("wait for signals")]
    Signals(#[source] std::io::Error),
    /// A task ended with an error or panicked, so the service stopped.
    #[error("run task {name}")]
    Task {
        /// The task.
        name: &'static str,
        /// What it said.
        #[source]
        source: BoxError,
    },
}
