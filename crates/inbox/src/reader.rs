//! The reader: one loop per stream that asks the source what follows the position. Repair of gaps,
//! silent tails, catching up, replay and running without a broker are all this loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use contracts::{Envelope, Stream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::error::chain;
use crate::follower::{Follower, back_off};
use crate::intake::Intake;
use crate::journal::Via;
use crate::pipeline::{Incoming, Taken};
use crate::receive::traces;
use crate::{Error, Projection};

/// A batch that takes longer than this is given up and tried again.
const APPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// How soon a stream that was just heard of gets its reader.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What one turn of a reader did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There may be more.
    Read,
    /// It stands at the head, or may not read now.
    Idle,
}

/// Keeps one reader per stream until stopped; ends early only when one of them dies.
pub(crate) async fn run<P: Projection>(
    follower: Arc<Follower<P>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    let mut readers: BTreeMap<Stream, AbortHandle> = BTreeMap::new();
    while !stop.is_cancelled() {
        for intake in follower.intakes.all() {
            readers.entry(intake.stream.clone()).or_insert_with(|| {
                tasks.spawn(follow(Arc::clone(&follower), intake, stop.clone()))
            });
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            Some(Err(source)) = tasks.join_next(), if !tasks.is_empty() => {
                return Err(Error::Task { topic: follower.topic.clone(), source });
            }
        }
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn follow<P: Projection>(
    follower: Arc<Follower<P>>,
    intake: Arc<Intake>,
    stop: CancellationToken,
) {
    let mut failures = 0;
    while !stop.is_cancelled() {
        match follower.read_on(&intake).await {
            Ok(Turn::Read) => {
                failures = 0;
                intake.works();
            }
            Ok(Turn::Idle) => {
                failures = 0;
                intake.works();
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = intake.wake.notified() => {}
                }
            }
            Err(error) => {
                failures += 1;
                let (stream, is_alarm) = (&intake.stream, error.is_unreadable_answer());
                let error = chain(&error);
                if is_alarm {
                    tracing::error!(%stream, failures, error, "alarm: the feed cannot be read");
                } else {
                    tracing::warn!(%stream, failures, error, "the reader failed and tries again");
                }
                back_off(failures, &stop).await;
            }
        }
    }
}

impl<P: Projection> Follower<P> {
    /// Asks once for what follows the position, and applies it.
    async fn read_on(&self, intake: &Intake) -> Result<Turn, Error> {
        let stream = &intake.stream;
        let client = self.client().await?;
        let Some((position, phase)) = crate::store::copy::read_position(&client, stream).await?
        else {
            return Ok(Turn::Idle);
        };
        drop(client);
        if !phase.takes_changes() {
            return Ok(Turn::Idle);
        }
        let body = match self.relay.feed(stream, position, self.config.feed_limit).await {
            Ok(body) => body,
            Err(Error::Refused { code, .. }) if code == "diverged" || code == "below-floor" => {
                // The next sync is told the same, and decides for the whole topic.
                self.sync.notify_one();
                return Ok(Turn::Idle);
            }
            Err(error) => return Err(error),
        };
        let (envelopes, head) = match self.read_answer(stream, &body) {
            Ok(answer) => answer,
            Err(error) => {
                self.pipeline.metrics.alarm("unreadable-answer");
                self.keep_unreadable(intake, Via::Feed, &body, &chain(&error)).await?;
                return Err(error);
            }
        };
        let mut reached = position.pn;
        for envelope in &envelopes {
            match self.apply_read(intake, envelope).instrument(span(envelope)).await? {
                Taken::Committed(position) => reached = position.pn,
                Taken::Duplicate => {}
                Taken::Early | Taken::Elsewhere => {
                    let reason = "its envelopes do not go on from the position asked with";
                    return Err(Error::unreadable_answer(self.relay.name(), stream, reason));
                }
                Taken::UnknownStream | Taken::Standing(_) => return Ok(Turn::Idle),
            }
        }
        Ok(if envelopes.is_empty() || reached >= head { Turn::Idle } else { Turn::Read })
    }

    fn read_answer<'a>(
        &self,
        stream: &Stream,
        body: &'a [u8],
    ) -> Result<(Vec<Envelope<'a>>, contracts::Pn), Error> {
        let refuse = |reason: String| Error::unreadable_answer(self.relay.name(), stream, reason);
        let answer = self.relay.read_feed(stream, body)?;
        let envelopes = answer.envelopes.into_iter().map(|raw| {
            let parsed = Envelope::parse(raw.get().as_bytes());
            let envelope = parsed.map_err(|error| refuse(chain(&error)))?;
            self.misplaced(stream, &envelope.header).map_err(refuse)?;
            Ok(envelope)
        });
        Ok((envelopes.collect::<Result<_, Error>>()?, answer.head))
    }

    /// Applies one envelope to its end, in parts where it is taken in parts.
    async fn apply_read(&self, intake: &Intake, envelope: &Envelope<'_>) -> Result<Taken, Error> {
        let incoming = Incoming { envelope, via: Via::Feed, received_at: Utc::now() };
        loop {
            let taken = {
                let _turn = intake.turn.lock().await;
                let taking = timeout(APPLY_TIMEOUT, self.pipeline.take(&incoming));
                taking.await.map_err(|_| Error::TimedOut("apply a batch"))??
            };
            match taken {
                Taken::Committed(position) => {
                    intake.moved.notify_waiters();
                    if position.pn >= envelope.header.last {
                        return Ok(taken);
                    }
                }
                Taken::Duplicate
                | Taken::Early
                | Taken::Elsewhere
                | Taken::UnknownStream
                | Taken::Standing(_) => return Ok(taken),
            }
        }
    }
}

fn span(envelope: &Envelope<'_>) -> Span {
    let header = &envelope.header;
    let span = tracing::info_span!(
        "inbox.read",
        otel.kind = "consumer",
        messaging.destination.name = %header.stream,
        first = header.first.get(),
        last = header.last.get(),
    );
    bus::trace::join(&span, &traces(envelope));
    span
}
