//! What arrives, who takes it, and what is answered.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;

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

    /// Decides on deliveries of one stream that were read together, in their order: answers how
    /// many of the first are done. The one after them counts as tried and refused.
    ///
    /// Whoever does several at less cost than one by one says so by writing this.
    fn deliver_all<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, usize> {
        let one_by_one = async move {
            let mut done = 0;
            for delivery in deliveries {
                if self.deliver(delivery.clone()).await == Verdict::Retry {
                    break;
                }
                done += 1;
            }
            done
        };
        one_by_one.boxed()
    }
}

/// One try and the four of the resiliency file; then a transport gives a delivery up.
pub(crate) const ATTEMPTS_MAX: u32 = 5;
/// What the resiliency file waits between two tries.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// What the handler says to one delivery, whatever becomes of the handler.
pub(crate) async fn attempt(handler: &dyn Handler, delivery: Delivery) -> Verdict {
    // The handler itself is created inside, so that a panic before its first await counts too.
    caught(async { handler.deliver(delivery).await }, Verdict::Retry).await
}

/// How many of the first deliveries the handler is done with, whatever becomes of the handler.
pub(crate) async fn attempt_all(handler: &dyn Handler, deliveries: &[Delivery]) -> usize {
    caught(async { handler.deliver_all(deliveries).await }, 0).await
}

/// What a handler answers, or this where it panics.
async fn caught<T>(attempt: impl Future<Output = T>, panicked: T) -> T {
    AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(|panic| {
        complain(panic.as_ref());
        panicked
    })
}

/// Names the cause of a handler's panic in the log.
pub(crate) fn complain(panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(error = text.unwrap_or("not a text"), "handler of a delivery panicked");
}

/// The handlers of one service, and word of new ones.
#[derive(Default)]
pub(crate) struct Subscriptions(watch::Sender<Vec<(Topic, Arc<dyn Handler>)>>);

impl Subscriptions {
    pub(crate) fn set(&self, topic: &Topic, handler: Arc<dyn Handler>) {
        self.0.send_modify(|all| {
            all.retain(|(known, _)| known != topic);
            all.push((topic.clone(), handler));
        });
    }

    pub(crate) fn find(&self, stream: &Stream) -> Option<Arc<dyn Handler>> {
        let all = self.0.borrow();
        all.iter().find(|(topic, _)| stream.belongs_to(topic)).map(|(_, h)| Arc::clone(h))
    }

    pub(crate) fn topics(&self) -> Vec<Topic> {
        self.0.borrow().iter().map(|(topic, _)| topic.clone()).collect()
    }

    /// Tells of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<Vec<(Topic, Arc<dyn Handler>)>> {
        self.0.subscribe()
    }
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.topics()).finish()
    }
}
