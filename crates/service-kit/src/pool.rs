//! Connections to the service's own database, bounded in number and in time.

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Pool, PoolConfig, QueueMode, RecyclingMethod, Runtime, Timeouts,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::{Client, NoTls};

use crate::{Config, Error, config::Database};

const CHECK_SERVER: &str = include_str!("../queries/check_server.sql");
const PING: &str = include_str!("../queries/ping.sql");

/// The oldest server whose behaviour the protocol was proven on.
const SERVER_VERSION_MIN: i32 = 150_000;

/// `processingTimeout` in `components/`: then a delivery that is still in work comes again.
const STATEMENT_MS_MAX: u32 = 60_000;

/// How the driver connects to this database under this application name.
pub(crate) fn connection(name: &str, url: &SecretString) -> Result<tokio_postgres::Config, Error> {
    let mut connection: tokio_postgres::Config =
        url.expose_secret().parse().map_err(Error::DatabaseUrl)?;
    connection.application_name(name).connect_timeout(Duration::from_secs(5));
    // A peer that vanished without a word is noticed within seconds, not hours.
    connection.keepalives_idle(Duration::from_secs(15)).tcp_user_timeout(Duration::from_secs(15));
    Ok(connection)
}

/// Opens the pool, once a first connection showed that the database is fit to be used.
pub(crate) async fn open(name: &str, config: &Config, database: &Database) -> Result<Pool, Error> {
    let url = database.database_url.as_ref().ok_or(Error::NoDatabase)?;
    if u64::from(database.database_statement_ms_max) > config.http_request_ms_max {
        return Err(Error::Settings(
            "DATABASE_STATEMENT_MS_MAX is above HTTP_REQUEST_MS_MAX: statements would outlive the \
             requests that wait for them",
        ));
    }
    if !(1..=STATEMENT_MS_MAX).contains(&database.database_statement_ms_max) {
        return Err(Error::Settings(
            "DATABASE_STATEMENT_MS_MAX must be from 1 to 60000: 0 is no limit to the database, and \
             what takes longer than a sidecar waits for its delivery is delivered again meanwhile",
        ));
    }
    let mut connection = connection(name, url)?;
    let options = [
        connection.get_options().unwrap_or_default().to_owned(),
        format!("-c statement_timeout={}", database.database_statement_ms_max),
        "-c lock_timeout=5000".to_owned(),
        // A frozen process must not hold its locks while its kernel answers keep-alives.
        "-c idle_in_transaction_session_timeout=2000".to_owned(),
    ];
    connection.options(options.join(" ").trim());
    // `Fast` asks the server nothing: a round trip per use would double the cost of small writes.
    // Every transaction type in use rolls back when dropped.
    let manager = Manager::from_config(
        connection,
        NoTls,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let wait = Some(Duration::from_secs(5));
    let timeouts = Timeouts { wait, create: wait, recycle: wait };
    let pool = Pool::builder(manager)
        .config(PoolConfig {
            timeouts,
            // The one used last has its process warm: taken in turn, each would be cold.
            queue_mode: QueueMode::Lifo,
            ..PoolConfig::new(database.database_connections_max.max(1))
        })
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(Error::Pool)?;
    let client = first(&pool, Duration::from_millis(database.database_start_ms_max)).await?;
    check(&client).await?;
    Ok(pool)
}

/// Whether the database answers now.
pub(crate) async fn ping(pool: Pool) -> Result<(), String> {
    let client = pool.get().await.map_err(|error| error.to_string())?;
    let statement = client.prepare_cached(PING).await.map_err(|error| error.to_string())?;
    client.query_one(&statement, &[]).await.map(|_| ()).map_err(|error| error.to_string())
}

/// A server that is still starting is given time; one that refuses us is not asked again.
async fn first(pool: &Pool, limit: Duration) -> Result<deadpool_postgres::Object, Error> {
    let deadline = tokio::time::Instant::now() + limit;
    let mut pause = Duration::from_millis(50);
    loop {
        let error = match pool.get().await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        if is_refusal(&error) || tokio::time::Instant::now() + pause > deadline {
            return Err(Error::Connect(error.into()));
        }
        tracing::info!(error = contracts::chain(&error), "waiting for the database");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// Wrong password, no such role, no such database: waiting does not help.
fn is_refusal(error: &deadpool_postgres::PoolError) -> bool {
    let deadpool_postgres::PoolError::Backend(error) = error else { return false };
    error.code().is_some_and(|state| state.code().starts_with("28") || state.code() == "3D000")
}

async fn check(client: &Client) -> Result<(), Error> {
    let row = client.query_one(CHECK_SERVER, &[]).await?;
    fitness(row.get("server_version"), row.get("synchronous_commit")).map_err(Error::UnfitDatabase)
}

fn fitness(server_version: i32, synchronous_commit: &str) -> Result<(), String> {
    if server_version < SERVER_VERSION_MIN {
        return Err(format!("PostgreSQL 15 or newer is needed, this is {server_version}"));
    }
    if synchronous_commit == "off" {
        return Err("synchronous_commit is off, so a commit may be lost; switch it on".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_or_forgetful_server_is_refused() {
        assert!(fitness(150_004, "on").is_ok());
        assert!(fitness(170_000, "local").is_ok());
        assert!(fitness(140_012, "on").unwrap_err().contains("15 or newer"));
        assert!(fitness(150_004, "off").unwrap_err().contains("synchronous_commit is off"));
    }
}
