//! The transport inside one process, for tests that decide what is lost, repeated and overtaken.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use contracts::Stream;

use crate::delivery::{ATTEMPTS_MAX, Subscriptions, attempt, attempt_all};
use crate::{Delivery, Error, Handler, Verdict};

/// A hub that joins the buses of several services in one process.
///
/// It delivers inside [`crate::Bus::publish`], so a test knows that whatever was published has
/// been answered. A test that wants it otherwise holds deliveries and releases them as it likes.
/// A service leaves the hub with the last clone of its bus.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

/// What becomes of one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing bad.
    Pass,
    /// It succeeds, but nobody receives it.
    Lose,
    /// Everybody receives it twice.
    Repeat,
    /// It fails, and nobody receives it.
    Refuse,
    /// It fails although everybody received it.
    AnswerLost,
}

#[derive(Debug, Default)]
struct State {
    services: Vec<Weak<Subscriptions>>,
    script: VecDeque<Fault>,
    held: Option<Vec<Delivery>>,
    given_up: usize,
}

impl Memory {
    /// A hub without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next publishes meet these faults, one each; those after them pass.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().script.extend(faults);
    }

    /// From now on whatever is published is held instead of delivered.
    pub fn hold(&self) {
        self.state().held.get_or_insert_default();
    }

    /// What is held, in the order in which it was published.
    pub fn held(&self) -> Vec<Delivery> {
        self.state().held.clone().unwrap_or_default()
    }

    /// Delivers the held ones at these places, in this order, and forgets all that are held.
    ///
    /// A place left out is a loss, one named twice a repetition. Later publishes are held again.
    pub async fn release(&self, places: &[usize]) {
        let held = self.state().held.replace(Vec::new()).unwrap_or_default();
        for delivery in places.iter().filter_map(|place| held.get(*place)) {
            self.deliver(delivery).await;
        }
    }

    /// Delivers everything that is held as one that reads a stream does: together what waits, and
    /// forgets it. Later publishes are held again.
    pub async fn release_together(&self) {
        let held = self.state().held.replace(Vec::new()).unwrap_or_default();
        for run in held.chunk_by(|one, next| one.stream == next.stream) {
            let Some(first) = run.first() else { continue };
            for handler in self.handlers(&first.stream) {
                let done = attempt_all(handler.as_ref(), run).await;
                for delivery in run.iter().skip(done) {
                    self.insist(handler.as_ref(), delivery).await;
                }
            }
        }
    }

    /// Delivers everything that is held, in order, and holds nothing from now on.
    pub async fn resume(&self) {
        let held = self.state().held.take().unwrap_or_default();
        for delivery in &held {
            self.deliver(delivery).await;
        }
    }

    /// How many deliveries a handler refused so often that they were given up.
    pub fn given_up(&self) -> usize {
        self.state().given_up
    }

    pub(crate) fn join(&self, service: &Arc<Subscriptions>) {
        self.state().services.push(Arc::downgrade(service));
    }

    pub(crate) async fn publish(&self, stream: &Stream, envelope: Bytes) -> Result<(), Error> {
        let fault = self.state().script.pop_front().unwrap_or(Fault::Pass);
        let times = match fault {
            Fault::Pass | Fault::AnswerLost => 1,
            Fault::Lose | Fault::Refuse => 0,
            Fault::Repeat => 2,
        };
        for _ in 0..times {
            let delivery = Delivery { stream: stream.clone(), body: envelope.clone() };
            if !self.kept(&delivery) {
                self.deliver(&delivery).await;
            }
        }
        match fault {
            Fault::Pass | Fault::Lose | Fault::Repeat => Ok(()),
            Fault::Refuse | Fault::AnswerLost => {
                let status = tonic::Status::unavailable(format!("the script says {fault:?}"));
                Err(Error::publish(stream, status))
            }
        }
    }

    fn kept(&self, delivery: &Delivery) -> bool {
        self.state().held.as_mut().map(|held| held.push(delivery.clone())).is_some()
    }

    async fn deliver(&self, delivery: &Delivery) {
        for handler in self.handlers(&delivery.stream) {
            self.insist(handler.as_ref(), delivery).await;
        }
    }

    fn handlers(&self, stream: &Stream) -> Vec<Arc<dyn Handler>> {
        let services = self.state().services.clone();
        let present = services.iter().filter_map(Weak::upgrade);
        present.filter_map(|service| service.find(stream)).collect()
    }

    async fn insist(&self, handler: &dyn Handler, delivery: &Delivery) {
        let mut verdict = Verdict::Retry;
        let mut attempts = 0;
        while verdict == Verdict::Retry && attempts < ATTEMPTS_MAX {
            verdict = attempt(handler, delivery.clone()).await;
            attempts += 1;
        }
        if verdict == Verdict::Retry {
            self.state().given_up += 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
