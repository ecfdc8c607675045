//! What arrives, who takes it, and what is answered.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures::future::BoxFuture;

use contracts::{Stream, Topic};

/// One message as it arrived; nothing in it has been checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The stream that it was published to.
    pub stream: Stream,
    /// Its bytes, as they were published.
    pub body: Bytes,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Never send it again: it is committed, was known, or is left to the reader.
    Done,
    /// Send it again a few times, a moment later.
    Retry,
}

/// Takes the deliveries of one topic.
pub trait Handler: Send + Sync + 'static {
    /// Decides on one delivery. A panic counts as [`Verdict::Retry`].
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Verdict>;
}

/// The handlers of one service.
#[derive(Default)]
pub(crate) struct Subscriptions(RwLock<Vec<(Topic, Arc<dyn Handler>)>>);

impl Subscriptions {
    pub(crate) fn set(&self, topic: &Topic, handler: Arc<dyn Handler>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(known, _)| known != topic);
        all.push((topic.clone(), handler));
    }

    pub(crate) fn find(&self, stream: &Stream) -> Option<Arc<dyn Handler>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(topic, _)| stream.belongs_to(topic)).map(|(_, h)| Arc::clone(h))
    }
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(all.iter().map(|(topic, _)| topic)).finish()
    }
}
