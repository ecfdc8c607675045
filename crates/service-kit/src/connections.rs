//! The open connections of a listener: which of them are silent, and for how long.
//!
//! Where all places are taken, the connection that was silent longest makes room. So nobody who
//! merely keeps connections open can keep others out, least of all those who probe.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Where no connection is silent, one may fall silent within this time.
const NEXT_LOOK: Duration = Duration::from_millis(50);

/// The open connections of one listener.
#[derive(Debug)]
pub(crate) struct Connections {
    permits: Arc<Semaphore>,
    open: Arc<Mutex<BTreeMap<u64, Connection>>>,
    next: u64,
}

/// One open connection; clones speak of the same.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    state: Arc<Mutex<State>>,
    wanted: Arc<Notify>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing was asked yet.
    New(Instant),
    /// A request is in work.
    Working,
    /// A request began, and the caller lets its body be waited for.
    Awaiting(Instant),
    /// The last request was answered.
    Idle(Instant),
}

/// The place that a connection takes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    open: Arc<Mutex<BTreeMap<u64, Connection>>>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(crate) fn new(connections_max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(connections_max));
        Self { permits, open: Arc::default(), next: 0 }
    }

    /// A place for one more; where there is none, a silent connection is closed.
    pub(crate) async fn place(&mut self) -> (Connection, Place) {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                break permit;
            }
            self.make_room();
            // Waited for in vain, the permit is not lost: nothing was taken.
            let waited = Arc::clone(&self.permits).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(NEXT_LOOK, waited).await {
                break permit.expect("the semaphore is never closed");
            }
        };
        let connection = Connection {
            state: Arc::new(Mutex::new(State::New(Instant::now()))),
            wanted: Arc::default(),
        };
        let number = self.next;
        self.next += 1;
        lock(&self.open).insert(number, connection.clone());
        (connection, Place { number, open: Arc::clone(&self.open), _permit: permit })
    }

    /// Closes the connection that was silent longest, if any is.
    pub(crate) fn make_room(&self) {
        let open = lock(&self.open);
        let silent = open.values().filter_map(|one| Some((one.silent_since()?, one)));
        if let Some((since, connection)) = silent.min_by_key(|(since, _)| *since) {
            tracing::debug!(silent = ?since.elapsed(), "closing a silent connection: others wait");
            connection.wanted.notify_one();
        }
    }
}

impl Connection {
    /// A request is in work until the answer is dropped.
    pub(crate) fn work(&self) -> Work<'_> {
        *lock(&self.state) = State::Working;
        Work(self)
    }

    /// The body of its request is waited for: it is silent.
    pub(crate) fn awaits(&self) {
        *lock(&self.state) = State::Awaiting(Instant::now());
    }

    /// Some of the body came.
    pub(crate) fn goes_on(&self) {
        *lock(&self.state) = State::Working;
    }

    /// Done when its place is wanted while it is silent, or nothing was asked within this time.
    pub(crate) async fn closed(&self, first_head_max: Duration) {
        let late = async {
            tokio::time::sleep(first_head_max).await;
            if !matches!(*lock(&self.state), State::New(_)) {
                std::future::pending::<()>().await;
            }
        };
        let wanted = async {
            loop {
                self.wanted.notified().await;
                if self.silent_since().is_some() {
                    break;
                }
            }
        };
        tokio::select! {
            () = wanted => {}
            () = late => {}
        }
    }

    fn silent_since(&self) -> Option<Instant> {
        match *lock(&self.state) {
            State::New(since) | State::Idle(since) | State::Awaiting(since) => Some(since),
            State::Working => None,
        }
    }
}

/// A request in work.
#[derive(Debug)]
pub(crate) struct Work<'a>(&'a Connection);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        *lock(&self.0.state) = State::Idle(Instant::now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.open).remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
