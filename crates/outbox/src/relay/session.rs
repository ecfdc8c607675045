//! The connection that ticks: one session, one lock, one term.

use secrecy::{ExposeSecret as _, SecretString};
use std::str::FromStr as _;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls, Row, Statement};

use contracts::Term;

use super::RelayError;
use super::store::Room;

const SEAL: &str = include_str!("../../queries/seal.sql");
const TRY_LOCK: &str = include_str!("../../queries/try_lock.sql");
const TAKE_OVER: &str = include_str!("../../queries/take_over.sql");
const STREAMS: &str = include_str!("../../queries/streams.sql");

/// The planner would scan the slots where the index on `xid` is a hundred times faster; told not
/// to, it takes its plans for so expensive that it would compile them for a second each time. A
/// frozen process must not keep a lock; a seal is durable before anything is published.
const OPTIONS: &str = "-c enable_seqscan=off -c jit=off -c synchronous_commit=on \
                       -c idle_in_transaction_session_timeout=2s";

/// Nobody waits for an answer any longer.
const POOL_OPTIONS: &str = "-c statement_timeout=5s";

/// A silent leader loses its session, and with it the lock; a running statement is no silence. To
/// plan a seal takes longer than the seal, and the planner would do it anew each time.
const TICK_OPTIONS: &str = "-c idle_session_timeout=5s -c plan_cache_mode=force_generic_plan";

/// The settings of the connections that answer.
pub(super) fn pool_settings(url: &SecretString) -> Result<tokio_postgres::Config, RelayError> {
    settings(url, "relay", POOL_OPTIONS)
}

/// The settings of the connection that ticks.
pub(super) fn tick_settings(url: &SecretString) -> Result<tokio_postgres::Config, RelayError> {
    settings(url, "relay tick", TICK_OPTIONS)
}

fn settings(
    url: &SecretString,
    name: &str,
    options: &str,
) -> Result<tokio_postgres::Config, RelayError> {
    let mut settings =
        tokio_postgres::Config::from_str(url.expose_secret()).map_err(RelayError::Url)?;
    settings
        .application_name(name)
        .options(format!("{OPTIONS} {options}"))
        .connect_timeout(Duration::from_secs(5))
        .keepalives_idle(Duration::from_secs(5))
        .tcp_user_timeout(Duration::from_secs(10));
    Ok(settings)
}

/// A session for ticks alone. Dropped, it ends at once, and the lock with it.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    seal: Statement,
    /// Reads and writes the socket.
    _driver: JoinSet<()>,
}

impl Session {
    /// Dials the database, which breaks off each statement at this limit.
    pub(super) async fn dial(
        settings: &tokio_postgres::Config,
        limit: Duration,
    ) -> Result<Self, RelayError> {
        let mut settings = settings.clone();
        let options = settings.get_options().unwrap_or_default();
        let options = format!("{options} -c statement_timeout={}", limit.as_millis());
        settings.options(options);
        let (client, connection) = settings.connect(NoTls).await.map_err(RelayError::Database)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = %error, "the session that ticks ended");
            }
        });
        let seal = client.prepare(SEAL).await.map_err(RelayError::Database)?;
        Ok(Self { client, seal, _driver: driver })
    }

    /// Whether this session holds the lock now; refused where nobody may lead.
    pub(super) async fn try_lock(&self) -> Result<bool, RelayError> {
        let row = self.client.query_one(TRY_LOCK, &[]).await.map_err(RelayError::Database)?;
        if row.try_get("standby").map_err(RelayError::Database)? {
            return Err(RelayError::NotPrimary);
        }
        if !row.try_get::<_, bool>("same_system").map_err(RelayError::Database)? {
            return Err(RelayError::OtherSystem);
        }
        row.try_get("locked").map_err(RelayError::Database)
    }

    /// Writes the term, durably, which fences every other relay.
    pub(super) async fn take_over(&self, term: Term) -> Result<Row, RelayError> {
        self.client.query_one(TAKE_OVER, &[&term.get()]).await.map_err(RelayError::Database)
    }

    /// Every stream with its head and publish mark.
    pub(super) async fn streams(&self) -> Result<Vec<Row>, RelayError> {
        self.client.query(STREAMS, &[]).await.map_err(RelayError::Database)
    }

    /// Ticks under this number and term, from this snapshot; with what it found, if that has room.
    pub(super) async fn seal(
        &self,
        (n, term, s0): (i64, Term, &str),
        room: Room,
    ) -> Result<Vec<Row>, RelayError> {
        self.client
            .query(&self.seal, &[&n, &term.get(), &s0, &room.rows_max, &room.bytes_max])
            .await
            .map_err(RelayError::Database)
    }
}
