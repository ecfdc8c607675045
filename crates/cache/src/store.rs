//! The calls: look, fill, invalidate; each is one script.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::cache::{Fill, Lease as Token, Vector, Version};
use redis::Script;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::connection::Connection;
use crate::entry::{Found, look};
use crate::metrics::Metrics;
use crate::{Config, Error, Invalidation, Key, Lease, Look};

/// How long the lease of an entry without any value is kept; a slower fill is refused.
const LEASE_MS: u64 = 60_000;
/// So many invalidations go into one script, since nothing else runs meanwhile.
const INVALIDATIONS_MAX: usize = 256;

/// The cache. Clones are the same.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    connection: Connection,
    current_ms_max: u64,
    old_ms_max: u64,
    look: Script,
    fill: Script,
    invalidate: Script,
    metrics: Metrics,
}

impl Cache {
    /// Connects, and refuses an instance that may not be the cache.
    ///
    /// One that does not answer yet is no error: until it does, every call fails in time.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let cache = Self(Arc::new(Inner {
            connection: Connection::new(config)?,
            current_ms_max: config.cache_current_ms_max,
            old_ms_max: config.cache_old_ms_max,
            look: Script::new(include_str!("scripts/look.lua")),
            fill: Script::new(include_str!("scripts/fill.lua")),
            invalidate: Script::new(include_str!("scripts/invalidate.lua")),
            metrics: Metrics::new(),
        }));
        match cache.check().await {
            Err(error) if error.is_unreachable() => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the cache does not answer; it is tried again with each use");
            }
            checked => checked?,
        }
        Ok(cache)
    }

    /// Whether it answers and may be the cache.
    pub async fn check(&self) -> Result<(), Error> {
        let ping = |mut redis| async move { redis::cmd("PING").exec_async(&mut redis).await };
        self.count(self.0.connection.ask("check", ping).await)
    }

    /// Gives the current value, or the lease under which one may be filled in.
    pub async fn look(&self, key: &Key) -> Result<Look, Error> {
        let new = Token::new(Uuid::new_v4().as_u128());
        let mut call = self.0.look.key(key.as_str());
        call.arg(text(new)).arg(LEASE_MS);
        let ask = |mut redis| async move { call.invoke_async::<Found>(&mut redis).await };
        let found = self.0.connection.ask("look into", ask).await;
        let read = |found| look(key, found).map_err(|error| Error::new("look into", error.into()));
        let look = self.count(found.and_then(read))?;
        self.0.metrics.look(match &look {
            Look::Hit(_) => "hit",
            Look::Miss { old: None, .. } => "miss",
            Look::Miss { old: Some(_), .. } => "old",
        });
        Ok(look)
    }

    /// Fills in a value whose parts were all read after the look that gave the lease.
    ///
    /// It is current until that time since the epoch, by the clock of the cache, and in no case
    /// longer than the configured limit.
    pub async fn fill(
        &self,
        lease: &Lease,
        value: Bytes,
        vector: &Vector,
        until: Option<Duration>,
    ) -> Result<Fill, Error> {
        let until = until.map(|until| until.as_millis().to_string()).unwrap_or_default();
        let mut call = self.0.fill.key(lease.key.as_str());
        call.arg(text(lease.token)).arg(&*value).arg(lease.given_ms).arg(until);
        call.arg(self.0.current_ms_max).arg(self.0.old_ms_max);
        for (part, version) in vector.iter() {
            call.arg(part).arg(version.get());
        }
        let ask = |mut redis| async move { call.invoke_async::<bool>(&mut redis).await };
        let stored = self.count(self.0.connection.ask("fill", ask).await)?;
        self.0.metrics.fill(if stored { "stored" } else { "refused" });
        Ok(if stored { Fill::Stored } else { Fill::Refused })
    }

    /// Carries out invalidations; how many values ceased to be current by them.
    ///
    /// After an error any of them may have been carried out or not: give all of them again.
    pub async fn invalidate(&self, all: &[Invalidation]) -> Result<u64, Error> {
        let span = tracing::info_span!("cache.invalidate", count = all.len());
        self.invalidate_in_parts(all).instrument(span).await
    }

    async fn invalidate_in_parts(&self, all: &[Invalidation]) -> Result<u64, Error> {
        let mut ended = 0;
        for some in all.chunks(INVALIDATIONS_MAX) {
            let mut call = self.0.invalidate.prepare_invoke();
            for Invalidation { key, part, version } in some {
                let version = version.map(Version::get).map(|version| version.to_string());
                call.key(key.as_str()).arg(part).arg(version.unwrap_or_default());
            }
            let ask = |mut redis| async move { call.invoke_async::<u64>(&mut redis).await };
            let these = self.count(self.0.connection.ask("invalidate", ask).await)?;
            self.0.metrics.invalidations(some.len(), these);
            ended += these;
        }
        Ok(ended)
    }

    fn count<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        answer.inspect_err(|error| {
            self.0.metrics.failure(match error {
                Error::Unreachable { .. } => "unreachable",
                Error::Refused { .. } | Error::Url(_) => "refused",
                Error::Unfit(_) => "unfit",
            });
        })
    }
}

/// A lease as it lies in the hash.
fn text(lease: Token) -> String {
    format!("{:032x}", lease.get())
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The connection knows the password.
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}
