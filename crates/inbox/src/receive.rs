//! Takes pushes from the bus: a push is a hint that carries data, so it is answered with success
//! once it is committed, recognised as known, or left to the reader.

use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Delivery, Handler, Verdict};
use chrono::Utc;
use contracts::{Envelope, TraceContext};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::error::chain;
use crate::follower::Follower;
use crate::intake::Intake;
use crate::joined::join;
use crate::journal::Via;
use crate::pipeline::{Incoming, Taken};
use crate::{Error, Projection};

/// Below the time that the sidecar's resiliency file gives a delivery.
const PUSH_TIMEOUT: Duration = Duration::from_millis(450);
/// Far more than a relay packs: one transaction must end in a push's time.
const PUSH_CHANGES_MAX: usize = 5_000;
/// How long an early push waits for the one before it, which another replica may hold.
const EARLY_WAIT: Duration = Duration::from_millis(20);
/// How often it looks meanwhile; moves in this process wake it at once.
const EARLY_LOOK: Duration = Duration::from_millis(5);

/// The handler of one topic's deliveries.
pub(crate) struct Receiver<P>(pub(crate) Arc<Follower<P>>);

impl<P: Projection> Handler for Receiver<P> {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Verdict> {
        async move {
            let done = self.0.receive(slice::from_ref(&delivery)).await;
            if done == 1 { Verdict::Done } else { Verdict::Retry }
        }
        .boxed()
    }

    fn deliver_all<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, usize> {
        self.0.receive(deliveries).boxed()
    }
}

impl<P: Projection> Follower<P> {
    /// How many of the first of these deliveries of one stream are done.
    async fn receive(&self, deliveries: &[Delivery]) -> usize {
        let first = deliveries.first().filter(|_| !self.stop().is_cancelled());
        let Some(first) = first else { return 0 };
        let Some(intake) = self.intakes.find(&first.stream) else {
            // If the source has such a stream, the next sync tells, and it is read from its start.
            self.pipeline.metrics.delivery("unknown-stream", deliveries.len());
            self.sync.notify_one();
            return deliveries.len();
        };
        let read = deliveries.iter().map(|delivery| (delivery.body.len(), self.read(delivery)));
        let mut read = Vec::from_iter(read).into_iter().peekable();
        let mut done = 0;
        while let Some((bytes, envelope)) = read.next().filter(|_| !self.stop().is_cancelled()) {
            done += match (envelope, deliveries.get(done)) {
                (Ok(envelope), _) if self.pipeline.knows(&envelope.header) => {
                    intake.duplicates(1);
                    self.pipeline.metrics.delivery("duplicate", 1);
                    1
                }
                (Ok(envelope), _) => {
                    let (envelope, count) = join((bytes, envelope), &mut read);
                    self.hand_in(&intake, &envelope, count).await;
                    count
                }
                (Err(reason), Some(delivery)) => {
                    if self.unreadable(&intake, delivery, &reason).await == Verdict::Retry {
                        break;
                    }
                    1
                }
                (Err(_), None) => break,
            };
        }
        done
    }

    /// Applies the envelope of so many deliveries, or leaves it to the reader.
    async fn hand_in(&self, intake: &Intake, envelope: &Envelope<'_>, count: usize) {
        let header = &envelope.header;
        let span = tracing::info_span!(
            "inbox.deliver",
            otel.kind = "consumer",
            messaging.destination.name = %header.stream,
            first = header.first.get(),
            last = header.last.get(),
        );
        bus::trace::join(&span, &traces(envelope));
        let taken = if self.pipeline.careful.is_on() {
            // Only the reader applies after an unclean stop: it never gives up half-way.
            Ok(Err(Error::TimedOut("wait for an unclean stop to be cleared up")))
        } else if intake.is_failing() {
            // The sidecar brings all topics of a lane one after another.
            Ok(Err(Error::TimedOut("wait for a batch that failed")))
        } else {
            timeout(PUSH_TIMEOUT, self.push(intake, envelope)).instrument(span).await
        };
        match taken {
            Ok(Ok(Taken::Committed(_))) => {}
            Ok(Ok(Taken::Duplicate)) => {
                intake.duplicates(count);
                self.pipeline.metrics.delivery("duplicate", count);
            }
            Ok(Ok(Taken::UnknownStream)) => {
                self.leave(intake, count);
                self.sync.notify_one();
            }
            Ok(Ok(Taken::Early | Taken::Elsewhere | Taken::Standing(_))) => {
                self.leave(intake, count);
            }
            Err(_) => {
                intake.fails();
                self.leave(intake, count);
            }
            Ok(Err(error)) => {
                intake.fails();
                let (stream, error) = (&intake.stream, chain(&error));
                tracing::debug!(%stream, error, "a push is left to the reader");
                self.leave(intake, count);
            }
        }
    }

    fn read<'a>(&self, delivery: &'a Delivery) -> Result<Envelope<'a>, String> {
        let envelope = Envelope::parse(&delivery.body).map_err(|error| chain(&error))?;
        self.misplaced(&delivery.stream, &envelope.header)?;
        let changes = envelope.changes.len();
        if changes > PUSH_CHANGES_MAX {
            return Err(format!("it has {changes} changes, and at most {PUSH_CHANGES_MAX} travel"));
        }
        Ok(envelope)
    }

    async fn push(&self, intake: &Intake, envelope: &Envelope<'_>) -> Result<Taken, Error> {
        let incoming = Incoming { envelope, via: Via::Push, received_at: Utc::now() };
        let deadline = Instant::now() + EARLY_WAIT;
        loop {
            let moved = intake.moved.notified();
            let taken = {
                let _turn = intake.turn.lock().await;
                self.pipeline.take(&incoming).await?
            };
            match taken {
                Taken::Committed(_) => intake.moved.notify_waiters(),
                Taken::Early if Instant::now() < deadline => {
                    let _ = timeout(EARLY_LOOK, moved).await;
                    continue;
                }
                Taken::Early
                | Taken::Duplicate
                | Taken::Elsewhere
                | Taken::UnknownStream
                | Taken::Standing(_) => {}
            }
            return Ok(taken);
        }
    }

    fn leave(&self, intake: &Intake, count: usize) {
        intake.left_to_reader(count);
        self.pipeline.metrics.delivery("left-to-reader", count);
        intake.wake.notify_one();
    }

    async fn unreadable(&self, intake: &Intake, delivery: &Delivery, reason: &str) -> Verdict {
        let stream = &intake.stream;
        tracing::warn!(%stream, error = reason, "a push cannot be read, it is kept");
        intake.wake.notify_one();
        let kept = self.keep_unreadable(intake, Via::Push, &delivery.body, reason);
        match timeout(PUSH_TIMEOUT, kept).await {
            Ok(Ok(())) => Verdict::Done,
            Ok(Err(_)) | Err(_) => Verdict::Retry,
        }
    }
}

/// The trace with which an envelope goes on, then those of its changes.
pub(crate) fn traces(envelope: &Envelope<'_>) -> Vec<TraceContext> {
    let changes = envelope.changes.iter();
    let changes = changes.map(|change| change.as_ref().ok()?.trace.as_ref());
    bus::trace::of_batch(envelope.header.trace.as_ref(), changes)
}
