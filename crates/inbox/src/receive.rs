//! Takes pushes from the bus: a push is a hint that carries data, so it is answered with success
//! once it is committed, recognised as known, or left to the reader.

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
        self.0.receive(delivery).boxed()
    }
}

impl<P: Projection> Follower<P> {
    async fn receive(&self, delivery: Delivery) -> Verdict {
        if self.stop().is_cancelled() {
            return Verdict::Retry;
        }
        let Some(intake) = self.intakes.find(&delivery.stream) else {
            // If the source has such a stream, the next sync tells, and it is read from its start.
            self.pipeline.metrics.delivery("unknown-stream");
            self.sync.notify_one();
            return Verdict::Done;
        };
        let envelope = match self.read(&delivery) {
            Ok(envelope) => envelope,
            Err(reason) => return self.unreadable(&intake, &delivery, &reason).await,
        };
        let header = &envelope.header;
        let span = tracing::info_span!(
            "inbox.deliver",
            otel.kind = "consumer",
            messaging.destination.name = %header.stream,
            first = header.first.get(),
            last = header.last.get(),
        );
        bus::trace::join(&span, &traces(&envelope));
        let taken = if self.pipeline.careful.is_on() {
            // Only the reader applies after an unclean stop: it never gives up half-way.
            Ok(Err(Error::TimedOut("wait for an unclean stop to be cleared up")))
        } else if intake.is_failing() {
            // The sidecar brings all topics of a lane one after another.
            Ok(Err(Error::TimedOut("wait for a batch that failed")))
        } else {
            timeout(PUSH_TIMEOUT, self.push(&intake, &envelope)).instrument(span).await
        };
        match taken {
            Ok(Ok(Taken::Committed(_))) => {}
            Ok(Ok(Taken::Duplicate)) => {
                intake.duplicate();
                self.pipeline.metrics.delivery("duplicate");
            }
            Ok(Ok(Taken::UnknownStream)) => {
                self.leave(&intake);
                self.sync.notify_one();
            }
            Ok(Ok(Taken::Early | Taken::Elsewhere | Taken::Standing(_))) => self.leave(&intake),
            Err(_) => {
                intake.fails();
                self.leave(&intake);
            }
            Ok(Err(error)) => {
                intake.fails();
                let (stream, error) = (&intake.stream, chain(&error));
                tracing::debug!(%stream, error, "a push is left to the reader");
                self.leave(&intake);
            }
        }
        Verdict::Done
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

    fn leave(&self, intake: &Intake) {
        intake.left_to_reader();
        self.pipeline.metrics.delivery("left-to-reader");
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
