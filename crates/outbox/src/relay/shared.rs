//! What the parts of one relay share: the newest reading, those who wait for the next, the pool.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Manager, Pool, QueueMode, Runtime};
use secrecy::SecretString;
use tokio::sync::{Notify, oneshot, watch};
use tokio_postgres::NoTls;

use bus::metrics::{Operations, Queues};
use bus::{Bus, Transport};
use contracts::{Pn, Source, Stream, Term, Topic, chain};

use super::fresh::{self, Fresh};
use super::recent::Recent;
use super::store::{Room, Store};
use super::sync::Confirmations;
use super::{Config, RelayError, Turn, session};

/// What a tick knew in its own snapshot.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// The number of the newest seal.
    pub(super) n: i64,
    /// The term under which it was read.
    pub(super) term: Term,
    /// The term of the source's creation or renewal.
    pub(super) root: Term,
    /// Every stream.
    pub(super) heads: BTreeMap<Stream, Head>,
    /// The publish marks as they were saved when the term began.
    pub(super) marks: Arc<BTreeMap<Stream, Pn>>,
}

/// The newest number of a stream.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// The topic whose changes it carries.
    pub(super) topic: Topic,
    /// The number.
    pub(super) pn: Pn,
    /// Its term.
    pub(super) term: Term,
}

/// How it went lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    /// The last turn that did not fail.
    pub(super) turn: Option<Turn>,
    /// When it ended.
    pub(super) turned_at: Option<DateTime<Utc>>,
    /// Why turns fail now, if they do.
    pub(super) error: Option<String>,
}

/// What the parts of one relay share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) source: Source,
    pub(super) bus: Bus,
    pub(super) store: Store,
    pub(super) confirmations: Confirmations,
    pub(super) operations: Operations,
    /// The newest reading while this relay leads.
    pub(super) readings: watch::Sender<Option<Arc<Reading>>>,
    waiting: Mutex<Vec<oneshot::Sender<Arc<Reading>>>>,
    ask: Notify,
    published: Mutex<BTreeMap<Stream, Pn>>,
    recent: Mutex<Recent>,
    fresh: Mutex<Fresh>,
    health: Mutex<Health>,
}

/// Longest that a call waits for its tick.
const READING_WAIT_MAX: Duration = Duration::from_secs(2);

impl Shared {
    pub(super) fn open(
        config: &Config,
        source: Source,
        database_url: &SecretString,
        bus: Bus,
    ) -> Result<Self, RelayError> {
        if !config.is_sound() {
            let reason = "connections and tick limit must be above 0, the standby limit below 5 s";
            return Err(RelayError::Settings(reason.to_owned()));
        }
        let manager = Manager::new(session::pool_settings(database_url)?, NoTls);
        let pool = Pool::builder(manager)
            .max_size(config.connections_max)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(Duration::from_secs(2)))
            .create_timeout(Some(Duration::from_secs(5)))
            .recycle_timeout(Some(Duration::from_secs(2)))
            .build()
            .map_err(RelayError::Build)?;
        Ok(Self {
            config: config.clone(),
            source,
            bus,
            store: Store::new(pool),
            confirmations: Confirmations::default(),
            operations: Operations::new(),
            readings: watch::Sender::new(None),
            waiting: Mutex::default(),
            ask: Notify::new(),
            published: Mutex::default(),
            recent: Mutex::default(),
            fresh: Mutex::default(),
            health: Mutex::default(),
        })
    }

    /// The reading of a tick that begins after this call; calls that wait share one.
    pub(super) async fn reading(&self) -> Result<Arc<Reading>, RelayError> {
        if self.readings.borrow().is_none() {
            return Err(RelayError::NotLeading);
        }
        let (answer, reading) = oneshot::channel();
        lock(&self.waiting).push(answer);
        self.ask.notify_one();
        match tokio::time::timeout(READING_WAIT_MAX, reading).await {
            Ok(Ok(reading)) => Ok(reading),
            Ok(Err(_)) | Err(_) => Err(RelayError::NotLeading),
        }
    }

    /// Returns once somebody waits for a reading.
    pub(super) async fn asked(&self) {
        self.ask.notified().await;
    }

    /// Those who asked so far; a tick that begins now answers them. Dropped, they hear that this
    /// relay does not lead.
    pub(super) fn take_waiting(&self) -> Vec<oneshot::Sender<Arc<Reading>>> {
        std::mem::take(&mut lock(&self.waiting))
    }

    /// What the broker has, per stream, as far as this relay knows.
    pub(super) fn published(&self) -> MutexGuard<'_, BTreeMap<Stream, Pn>> {
        lock(&self.published)
    }

    /// How much is sealed and not published, while this relay leads and there is a broker.
    pub(super) fn tell_queues(&self, queues: &Queues<'_>) {
        let Some(reading) = self.readings.borrow().clone() else { return };
        if self.bus.transport() == Transport::None {
            return;
        }
        let published = self.published().clone();
        let mut waiting: BTreeMap<&Topic, u64> = BTreeMap::new();
        for (stream, head) in &reading.heads {
            let mark = published.get(stream).copied().unwrap_or_default();
            let size = head.pn.get().saturating_sub(mark.get()).max(0).unsigned_abs();
            *waiting.entry(&head.topic).or_default() += size;
        }
        for (topic, size) in waiting {
            queues.waiting("publish", topic.as_str(), size);
        }
    }

    /// When the broker was told of the newest changes.
    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        lock(&self.recent)
    }

    /// What was sealed last and is not published yet.
    pub(super) fn fresh(&self) -> MutexGuard<'_, Fresh> {
        lock(&self.fresh)
    }

    /// How many changes a tick answers: none where nobody is told of them.
    pub(super) fn fresh_room(&self) -> Room {
        match self.bus.transport() {
            Transport::None => Room { rows_max: 0, bytes_max: 0 },
            _ => fresh::ANSWERED,
        }
    }

    /// Remembers how a turn went, and says so when that changes.
    pub(super) fn note(&self, outcome: &Result<Turn, RelayError>) {
        let mut health = lock(&self.health);
        match outcome {
            Ok(turn) => {
                if health.error.take().is_some() {
                    tracing::info!(source = %self.source, "source {} is back", self.source);
                }
                health.turn = Some(*turn);
                health.turned_at = Some(Utc::now());
            }
            Err(error) => {
                // What the database said is for the log; the status is for everybody.
                let text = error.to_string();
                if health.error.as_ref() != Some(&text) {
                    let (source, cause) = (&self.source, chain(error));
                    tracing::warn!(source = %source, error = cause, "cannot tick source {source}");
                }
                health.error = Some(text);
            }
        }
    }

    pub(super) fn health(&self) -> Health {
        lock(&self.health).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
