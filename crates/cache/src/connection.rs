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
    /// Raised whenever a connection broke: another instance may answer from then on.
    breaks: AtomicU64,
    /// The number of breaks at which an instance was found fit, plus one.
    fit_at: AtomicU64,
    /// One looks at a new instance, the others wait for what it finds.
    checker: tokio::sync::Mutex<()>,
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
        let (breaks, fit_at) = (AtomicU64::new(0), AtomicU64::new(0));
        let checker = tokio::sync::Mutex::default();
        Ok(Self { client, manager, limit, breaks, fit_at, checker })
    }

    /// Asks once, after the instance has been found fit, and waits no longer than the limit; once
    /// more for the look at an instance that is new.
    ///
    /// An answer that comes too late tells of no other instance: the connection lives.
    pub(crate) async fn ask<T, Fut>(
        &self,
        doing: &'static str,
        question: impl FnOnce(ConnectionManager) -> Fut,
    ) -> Result<T, Error>
    where
        Fut: Future<Output = RedisResult<T>>,
    {
        self.within("check", self.check()).await?;
        let asked = async { question(self.manager()).await.map_err(|e| Error::new(doing, e)) };
        self.within(doing, asked).await
    }

    async fn within<T>(
        &self,
        doing: &'static str,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let answer = tokio::time::timeout(self.limit, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(Error::late(doing)));
        if answer.as_ref().is_err_and(Error::breaks) {
            self.breaks.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    fn is_fit(&self) -> bool {
        self.fit_at.load(Ordering::SeqCst) > self.breaks.load(Ordering::SeqCst)
    }

    /// Looks at the instance's settings, unless that was done since the connection broke last.
    async fn check(&self) -> Result<(), Error> {
        if self.is_fit() {
            return Ok(());
        }
        let _turn = self.checker.lock().await;
        if self.is_fit() {
            return Ok(());
        }
        let breaks = self.breaks.load(Ordering::SeqCst);
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
        self.fit_at.store(breaks + 1, Ordering::SeqCst);
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

/// Both questions at once.
async fn settings(redis: ConnectionManager) -> RedisResult<Settings> {
    let (mut first, mut second) = (redis.clone(), redis);
    let (info, mut ask) = (redis::cmd("INFO"), redis::cmd("CONFIG"));
    ask.arg("GET").arg("save");
    let (info, save): (_, RedisResult<Vec<(String, String)>>) =
        tokio::join!(info.query_async(&mut first), ask.query_async(&mut second));
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
