//! The road to Redis: one connection, every answer in time or none, and no instance unchecked.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo as _, RedisError, RedisResult};
use secrecy::ExposeSecret as _;

use crate::fitness::Settings;
use crate::{Config, Error};

/// A machine that vanished says nothing; a connection to it is given up after this time.
const SILENCE: Duration = Duration::from_secs(1);

pub(crate) struct Connection {
    client: Client,
    manager: Mutex<ConnectionManager>,
    limit: Duration,
    /// Raised by each failure: another instance may answer from then on.
    failures: AtomicU64,
    /// The number of failures at which an instance was found fit, plus one.
    fit_at: AtomicU64,
}

impl Connection {
    /// Waits for nothing: whether somebody answers shows with the first question.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let url = |error: RedisError| Error::Url(Box::new(error));
        let road = config.cache_url.expose_secret().into_connection_info().map_err(url)?;
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(SILENCE);
        let client = Client::open(road.set_tcp_settings(tcp)).map_err(url)?;
        let limit = config.answer_limit();
        let manager = Mutex::new(manager(&client, limit).map_err(url)?);
        let (failures, fit_at) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { client, manager, limit, failures, fit_at })
    }

    /// Asks once, after the instance has been found fit, and waits no longer than the limit.
    pub(crate) async fn ask<T, Fut>(
        &self,
        doing: &'static str,
        question: impl FnOnce(ConnectionManager) -> Fut,
    ) -> Result<T, Error>
    where
        Fut: Future<Output = RedisResult<T>>,
    {
        let asked = async {
            self.check().await?;
            question(self.manager()).await.map_err(|error| Error::new(doing, error))
        };
        let answer = tokio::time::timeout(self.limit, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(Error::late(doing)));
        if let Err(Error::Unreachable { .. }) = &answer {
            self.failures.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    /// Looks at the instance's settings, unless that was done since the last failure.
    async fn check(&self) -> Result<(), Error> {
        let failures = self.failures.load(Ordering::SeqCst);
        if self.fit_at.load(Ordering::SeqCst) > failures {
            return Ok(());
        }
        let told = settings(self.manager()).await.map_err(|error| Error::new("check", error));
        if let Err(Error::Refused { .. }) = &told {
            // One that was not let in is not tried again by the connection itself.
            self.replace()?;
        }
        let told = told?;
        let unknown = told.unknown();
        if !unknown.is_empty() {
            let settings = unknown.join(", ");
            tracing::warn!(
                settings,
                "the cache does not tell whether it forgets everything at once"
            );
        }
        told.judge()?;
        self.fit_at.store(failures + 1, Ordering::SeqCst);
        Ok(())
    }

    fn manager(&self) -> ConnectionManager {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self) -> Result<(), Error> {
        let new = manager(&self.client, self.limit).map_err(|error| Error::new("check", error))?;
        *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

/// A connection that is made with the first question, and made again after it broke.
fn manager(client: &Client, limit: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(limit))
        .set_response_timeout(Some(limit));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

async fn settings(mut redis: ConnectionManager) -> RedisResult<Settings> {
    let info = redis::cmd("INFO").query_async(&mut redis).await;
    let mut ask = redis::cmd("CONFIG");
    let save: RedisResult<Vec<(String, String)>> =
        ask.arg("GET").arg("save").query_async(&mut redis).await;
    let save = told(save)?.and_then(|pairs| pairs.into_iter().next().map(|(_, save)| save));
    Ok(Settings { info: told(info)?, save })
}

/// An instance that answers may keep its settings to itself.
fn told<T>(answer: RedisResult<T>) -> RedisResult<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_silence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `CONFIG` is forbidden by rights, renamed, or unknown to what only speaks the protocol.
fn is_silence(error: &RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(_))
        && error.code().is_none_or(|code| matches!(code, "NOPERM" | "ERR"))
}
