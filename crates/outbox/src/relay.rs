//! The relay of one source: gives every committed change its number, publishes, answers consumers.

mod config;
mod error;
mod feed;
mod fresh;
mod http;
mod publisher;
mod recent;
mod session;
mod shared;
mod snapshot;
mod status;
mod store;
mod sync;
mod ticker;
mod trail;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::future::join;
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use bus::{Bus, Transport};
use contracts::Source;
use protocol::relay::Poll;
use protocol::retry::Backoff;

pub use self::config::Config;
pub use self::error::RelayError;
pub use self::http::{routes, trail_routes};

use self::shared::Shared;
use self::ticker::Ticker;

/// The relay of one source; clones share it.
///
/// Several relays may be open for one source: one leads, the others stand by.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Shared>,
    ticker: Arc<Mutex<Ticker>>,
}

/// What one turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Another relay leads.
    Standby,
    /// Nothing became visible since the last tick.
    Idle,
    /// This many changes were numbered.
    Sealed(u64),
    /// Another relay took over; the session is closed.
    Fenced,
}

impl Relay {
    /// Prepares the relay of the source in this database; nothing is dialled before the first turn.
    pub fn open(
        config: &Config,
        source: Source,
        database_url: &SecretString,
        bus: Bus,
    ) -> Result<Self, RelayError> {
        let shared = Arc::new(Shared::open(config, source, database_url, bus)?);
        let ticker = Ticker::new(config, database_url)?;
        let watched = Arc::downgrade(&shared);
        bus::metrics::watch_queues(move |queues| {
            if let Some(shared) = watched.upgrade() {
                shared.tell_queues(queues);
            }
        });
        Ok(Self { shared, ticker: Arc::new(Mutex::new(ticker)) })
    }

    /// Whose changes it numbers.
    pub fn source(&self) -> &Source {
        &self.shared.source
    }

    /// Connects and takes over where needed, then ticks once.
    ///
    /// A failed turn closes the session; the next one begins anew, under a fresh term.
    pub async fn turn(&self) -> Result<Turn, RelayError> {
        let mut ticker = self.ticker.lock().await;
        let outcome = ticker.turn(&self.shared).await;
        self.shared.note(&outcome);
        outcome
    }

    /// Turns and publishes until `stop`; then finishes the publish in flight and saves the marks.
    pub async fn run(&self, stop: CancellationToken) {
        let publish = async {
            // Without a broker there is nobody to tell: consumers ask.
            if self.shared.bus.transport() != Transport::None {
                publisher::run(&self.shared, &stop).await;
            }
        };
        join(self.tick(&stop), publish).await;
        self.ticker.lock().await.close(&self.shared);
    }

    /// The three calls for this source alone; [`routes`] serves several.
    pub fn routes(&self) -> Router {
        routes(std::slice::from_ref(self))
    }

    /// Whether this relay leads, its streams, and who follows them, for `/sync/status`.
    pub async fn status(&self) -> serde_json::Value {
        status::status(&self.shared).await
    }

    /// Whether it leads or stands by, as opposed to looking for its database.
    pub fn is_up(&self) -> bool {
        let health = self.shared.health();
        health.error.is_none() && health.turn.is_some()
    }

    async fn tick(&self, stop: &CancellationToken) {
        let mut poll = Poll::new();
        let mut failures = 0;
        while !stop.is_cancelled() {
            let start = Instant::now();
            // Dropped half-way a turn leaves no session, and whether it sealed is unknown; that is
            // for the successor to find out.
            let outcome = tokio::select! {
                outcome = self.turn() => outcome,
                () = stop.cancelled() => break,
            };
            failures = if outcome.is_ok() { 0 } else { failures + 1 };
            let wait = match outcome {
                Ok(Turn::Idle) => poll.after(0, start.elapsed()),
                Ok(Turn::Sealed(found)) => poll.after(found, start.elapsed()),
                Ok(Turn::Standby | Turn::Fenced) => self.shared.config.standby(),
                Err(_) => RECONNECT.wait(failures, random()),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.shared.asked() => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("source", &self.shared.source).finish_non_exhaustive()
    }
}

/// When to dial a database again that does not answer.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Evenly distributed over all values.
fn random() -> u64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    // Six bits of these are fixed by the form of the id; mixed, they do not matter here.
    high.rotate_left(17) ^ low
}
