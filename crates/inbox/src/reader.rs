//! The reader: one loop per stream that asks the source what follows the position. Repair of gaps,
//! silent tails, catching up, replay and running without a broker are all this loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use contracts::{Envelope, Header, Pn, Stream};
use futures::future::try_join;
use protocol::reader::Position;
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
use crate::{Error, Projection, joined};

/// A batch that takes longer than this is given up and tried again.
const APPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// How soon a stream that was just heard of gets its reader.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// An answer of the feed that was asked for while the one before it was applied.
struct Ahead {
    position: Position,
    body: Bytes,
}

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
    let mut ahead = None;
    while !stop.is_cancelled() {
        match follower.read_on(&intake, &mut ahead).await {
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
    /// Asks once for what follows the position, unless that came ahead, and applies it.
    async fn read_on(&self, intake: &Intake, ahead: &mut Option<Ahead>) -> Result<Turn, Error> {
        let stream = &intake.stream;
        let came = ahead.take();
        let client = self.client().await?;
        let Some((position, phase)) = crate::store::copy::read_position(&client, stream).await?
        else {
            return Ok(Turn::Idle);
        };
        drop(client);
        if !phase.takes_changes() {
            return Ok(Turn::Idle);
        }
        let came = came.filter(|came| came.position == position).map(|came| Ok(came.body));
        let answer = match came {
            Some(came) => came,
            None => self.relay.feed(stream, position, self.config.feed_limit).await,
        };
        let body = match answer {
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
        let Some(end) = envelopes.last().map(|(_, envelope)| end(&envelope.header)) else {
            return Ok(Turn::Idle);
        };
        let applying = async {
            let applied = self.apply_all(intake, position, envelopes).await;
            if applied.is_ok() {
                // Pushes need not wait for the answer that is asked for meanwhile.
                intake.works();
            }
            applied
        };
        let asking = async { Ok(self.ask_ahead(stream, end, head).await) };
        let (applied, asked) = try_join(applying, asking).await?;
        *ahead = asked;
        Ok(match applied {
            Some(reached) if reached < head => Turn::Read,
            Some(_) | None => Turn::Idle,
        })
    }

    /// What follows the end of an answer, if the source has more. A failure is no matter: the next
    /// turn asks again, and hears of it.
    async fn ask_ahead(&self, stream: &Stream, end: Position, head: Pn) -> Option<Ahead> {
        if end.pn >= head {
            return None;
        }
        let answer = self.relay.feed(stream, end, self.config.feed_limit).await;
        answer.ok().map(|body| Ahead { position: end, body })
    }

    /// Applies the envelopes of an answer; tells how far that is, none if the copy takes no
    /// changes.
    async fn apply_all(
        &self,
        intake: &Intake,
        from: Position,
        envelopes: Vec<(usize, Envelope<'_>)>,
    ) -> Result<Option<Pn>, Error> {
        let mut reached = from.pn;
        let envelopes = envelopes.into_iter().map(|(bytes, envelope)| (bytes, Ok(envelope)));
        let mut rest = Vec::from_iter(envelopes).into_iter().peekable();
        while let Some((bytes, Ok(envelope))) = rest.next() {
            let (envelope, _) = joined::join((bytes, envelope), &mut rest);
            match self.apply_read(intake, &envelope).instrument(span(&envelope)).await? {
                Taken::Committed(position) => reached = position.pn,
                Taken::Duplicate => {}
                Taken::Early | Taken::Elsewhere => {
                    let (name, stream) = (self.relay.name(), &intake.stream);
                    let reason = "its envelopes do not go on from the position asked with";
                    return Err(Error::unreadable_answer(name, stream, reason));
                }
                Taken::UnknownStream | Taken::Standing(_) => return Ok(None),
            }
        }
        Ok(Some(reached))
    }

    fn read_answer<'a>(
        &self,
        stream: &Stream,
        body: &'a [u8],
    ) -> Result<(Vec<(usize, Envelope<'a>)>, Pn), Error> {
        let refuse = |reason: String| Error::unreadable_answer(self.relay.name(), stream, reason);
        let answer = self.relay.read_feed(stream, body)?;
        let envelopes = answer.envelopes.into_iter().map(|raw| {
            let parsed = Envelope::parse(raw.get().as_bytes());
            let envelope = parsed.map_err(|error| refuse(chain(&error)))?;
            self.misplaced(stream, &envelope.header).map_err(refuse)?;
            Ok((raw.get().len(), envelope))
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

/// Where a copy stands that has applied it.
const fn end(header: &Header) -> Position {
    Position { pn: header.last, term: header.term }
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
