//! One stream inside this process: who may apply it now, who waits for it, what was delivered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use contracts::Stream;
use tokio::sync::Notify;

use crate::store::watch::Deliveries;

/// One stream inside this process.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) stream: Stream,
    /// Held while a batch is applied: others wait here and not for a connection.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// Wakes early pushes when the position has moved.
    pub(crate) moved: Notify,
    /// Wakes the reader.
    pub(crate) wake: Notify,
    /// Set by the first batch that fails, until the reader has got past it.
    is_failing: AtomicBool,
    duplicates: AtomicI64,
    left_to_reader: AtomicI64,
    unreadable: AtomicI64,
}

impl Intake {
    fn new(stream: &Stream) -> Self {
        Self {
            stream: stream.clone(),
            turn: tokio::sync::Mutex::new(()),
            moved: Notify::new(),
            wake: Notify::new(),
            is_failing: AtomicBool::new(false),
            duplicates: AtomicI64::new(0),
            left_to_reader: AtomicI64::new(0),
            unreadable: AtomicI64::new(0),
        }
    }

    /// A batch failed: until the reader is past it, a push would only fail again, and keep the
    /// streams that share its road waiting meanwhile.
    pub(crate) fn fails(&self) {
        self.is_failing.store(true, Ordering::Relaxed);
    }

    /// What failed has been applied.
    pub(crate) fn works(&self) {
        self.is_failing.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    pub(crate) fn duplicates(&self, count: usize) {
        self.duplicates.fetch_add(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn left_to_reader(&self, count: usize) {
        self.left_to_reader.fetch_add(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted since the last call.
    pub(crate) fn drain(&self) -> Deliveries {
        Deliveries {
            duplicates: self.duplicates.swap(0, Ordering::Relaxed),
            left_to_reader: self.left_to_reader.swap(0, Ordering::Relaxed),
            unreadable: self.unreadable.swap(0, Ordering::Relaxed),
        }
    }

    /// Counts again what could not be flushed.
    pub(crate) fn give_back(&self, counted: Deliveries) {
        self.duplicates.fetch_add(counted.duplicates, Ordering::Relaxed);
        self.left_to_reader.fetch_add(counted.left_to_reader, Ordering::Relaxed);
        self.unreadable.fetch_add(counted.unreadable, Ordering::Relaxed);
    }
}

/// The streams of a topic.
#[derive(Debug, Default)]
pub(crate) struct Intakes(Mutex<BTreeMap<Stream, Arc<Intake>>>);

impl Intakes {
    /// The intake of a stream that is known to exist; it is made when first asked for, and so gets
    /// a reader.
    pub(crate) fn enter(&self, stream: &Stream) -> Arc<Intake> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(stream.clone()).or_insert_with(|| Arc::new(Intake::new(stream))))
    }

    /// The intake of a stream that somebody named, if it exists.
    pub(crate) fn find(&self, stream: &Stream) -> Option<Arc<Intake>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(stream).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Intake>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
