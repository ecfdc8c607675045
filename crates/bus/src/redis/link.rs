//! One connection that all publishers share: commands of many are on their way at once.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Dialled when it is needed, and given up as soon as a command fails or is not answered in time.
///
/// The driver's own reconnecting connection is not used: it keeps one that has fallen silent, or
/// whose server turned read-only, until TCP gives up.
pub(super) struct Link {
    client: Client,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    /// Tells a connection that failed from the one that has replaced it since.
    dialled: u64,
    connection: Option<MultiplexedConnection>,
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        Self { client, current: Mutex::default() }
    }

    /// The answer, within the limit. Unless the server refused it, whether the command was carried
    /// out is unknown.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        command: &Cmd,
        limit: Duration,
    ) -> RedisResult<T> {
        let dialling = timeout(limit, self.connection()).await;
        let (number, mut connection) = dialling.unwrap_or_else(|_| Err(too_late()))?;
        let asking = timeout(limit, command.query_async(&mut connection)).await;
        let answer = asking.unwrap_or_else(|_| Err(too_late()));
        if answer.is_err() {
            self.give_up(number).await;
        }
        answer
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((current.dialled, connection.clone()));
        }
        let connection = dial(&self.client, None).await?;
        current.dialled += 1;
        current.connection = Some(connection.clone());
        Ok((current.dialled, connection))
    }

    async fn give_up(&self, number: u64) {
        let mut current = self.current.lock().await;
        if current.dialled == number {
            current.connection = None;
        }
    }
}

/// A new connection, whose commands are answered within the limit, if there is one, or fail.
pub(super) async fn dial(
    client: &Client,
    limit: Option<Duration>,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(limit);
    client.get_multiplexed_async_connection_with_config(&config).await
}

fn too_late() -> RedisError {
    RedisError::from((ErrorKind::Io, "no answer in time"))
}
