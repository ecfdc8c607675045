//! Tells the bus what was sealed: streams in parallel, one envelope of each in flight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt as _;
use futures::future::join;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use bus::metrics::Status;
use contracts::{Lane, Pn, Stream, Term, chain};
use protocol::relay::{Answer, Step, Window};

use super::RelayError;
use super::feed::{self, Message};
use super::random;
use super::shared::{Reading, Shared};
use super::store::Room;

/// Changes read at a time; the envelopes cut from them wait in memory.
const READ: Room = Room { rows_max: 1_000, bytes_max: 1 << 20 };

type Readings = watch::Receiver<Option<Arc<Reading>>>;

/// Publishes until `stop`, and then until the publishes in flight are answered.
pub(super) async fn run(shared: &Arc<Shared>, stop: &CancellationToken) {
    let mut readings = shared.readings.subscribe();
    loop {
        let leading = tokio::select! {
            leading = readings.wait_for(Option::is_some) => leading.ok().and_then(|r| r.clone()),
            () = stop.cancelled() => None,
        };
        let Some(reading) = leading else { return };
        during(shared, reading.term, stop).await;
    }
}

/// How seldom the marks are saved: a successor repeats at most about this much.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Publishes until the term ends, and remembers how far that went.
async fn during(shared: &Arc<Shared>, term: Term, stop: &CancellationToken) {
    let ended = CancellationToken::new();
    // Before anything is published.
    let saved = shared.published().clone();
    let carrying = async {
        carry(shared, term, stop).await;
        ended.cancel();
    };
    join(carrying, save_marks(shared, (term, saved), &ended)).await;
}

/// Saves the marks of all streams now and then, and in the end.
async fn save_marks(
    shared: &Shared,
    (term, mut saved): (Term, BTreeMap<Stream, Pn>),
    ended: &CancellationToken,
) {
    let mut ending = false;
    while !ending {
        ending = tokio::time::timeout(SAVE_EVERY, ended.cancelled()).await.is_ok();
        let marks = shared.published().clone();
        if marks == saved {
            continue;
        }
        match shared.store.save_marks(&marks, term).await {
            Ok(()) => saved = marks,
            Err(error) => {
                // A successor repeats more; nothing is lost.
                let (source, cause) = (&shared.source, chain(&error));
                tracing::warn!(source = %source, error = cause, "marks of {source} not saved");
            }
        }
    }
}

/// Publishes all streams until the term ends.
async fn carry(shared: &Arc<Shared>, term: Term, stop: &CancellationToken) {
    let mut readings = shared.readings.subscribe();
    let mut carried = BTreeSet::new();
    let mut carriers = FuturesUnordered::new();
    loop {
        let reading = readings.borrow_and_update().clone();
        let Some(reading) = reading.filter(|reading| reading.term == term) else { break };
        for stream in reading.heads.keys() {
            if carried.insert(stream.clone()) {
                let mark = reading.marks.get(stream).copied().unwrap_or_default();
                let carrier = Carrier::new(Arc::clone(shared), stream.clone(), mark);
                carriers.push(carrier.carry(term, stop));
            }
        }
        tokio::select! {
            changed = readings.changed() => if changed.is_err() { break },
            Some(()) = carriers.next() => {}
            () = stop.cancelled() => break,
        }
    }
    while carriers.next().await.is_some() {}
}

/// Publishes one stream during one term.
struct Carrier {
    shared: Arc<Shared>,
    stream: Stream,
    window: Window,
    start: Instant,
    cut: VecDeque<Message>,
    readings: Readings,
}

impl Carrier {
    fn new(shared: Arc<Shared>, stream: Stream, mark: Pn) -> Self {
        let readings = shared.readings.subscribe();
        let window = Window::new(mark);
        Self { shared, stream, window, start: Instant::now(), cut: VecDeque::new(), readings }
    }

    async fn carry(mut self, term: Term, stop: &CancellationToken) {
        let mut answer = Answer::Passed;
        while !stop.is_cancelled() {
            let Some(head) = self.head(term) else { break };
            answer = match self.window.step(self.now(), head, answer) {
                Step::Publish { after } => self.publish(after, head).await,
                Step::Wait(until) => {
                    self.wait(until, stop).await;
                    Answer::Passed
                }
            };
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The newest number, while the term lasts.
    fn head(&mut self, term: Term) -> Option<Pn> {
        let reading = self.readings.borrow_and_update();
        let reading = reading.as_ref().filter(|reading| reading.term == term)?;
        reading.heads.get(&self.stream).map(|head| head.pn)
    }

    async fn publish(&mut self, after: Pn, head: Pn) -> Answer {
        match self.try_publish(after, head).await {
            Ok(last) => {
                self.shared.published().insert(self.stream.clone(), last);
                Answer::Accepted(last)
            }
            Err(cause) => {
                let stream = &self.stream;
                tracing::warn!(stream = %stream, error = cause, "publish {stream} again");
                Answer::Unknown { random: random() }
            }
        }
    }

    async fn try_publish(&mut self, after: Pn, head: Pn) -> Result<Pn, String> {
        if self.cut.is_empty() {
            self.cut = self.read(after, head).await.map_err(|error| chain(&error))?;
        }
        // Kept until it is accepted: a repeat is the identical envelope.
        let message = self.cut.front().ok_or("nothing is held of what was sealed")?;
        // A stream's name ends with its lane.
        let (_, lane) = self.stream.as_str().rsplit_once('.').unwrap_or_default();
        let lane = Lane::parse(lane).map_err(|error| error.to_string())?;
        let numbers = (message.first, message.last);
        self.shared.recent().sending(&self.stream, numbers, message.term, Utc::now());
        let publishing = self.shared.bus.publish(&self.stream, lane, message.bytes.clone());
        let began = std::time::Instant::now();
        let published = tokio::time::timeout(self.shared.config.publish_limit(), publishing)
            .instrument(span(&self.stream, message))
            .await
            .map_err(|_| "no answer in time".to_owned())
            .and_then(|answer| answer.map_err(|error| chain(&error)));
        let status = if published.is_ok() { Status::Ok } else { Status::Failed };
        self.shared.operations.ended("publish", status, began);
        published?;
        self.shared.recent().confirmed(&self.stream, Utc::now());
        let last = message.last;
        self.cut.pop_front();
        Ok(last)
    }

    async fn read(&self, after: Pn, head: Pn) -> Result<VecDeque<Message>, RelayError> {
        let (store, stream) = (&self.shared.store, &self.stream);
        let fresh = self.shared.fresh().take(stream, after);
        if let Some(run) = fresh {
            return Ok(run.messages(&self.shared.source, stream, head).into());
        }
        let run = match feed::read(store, stream, (after, head), READ).await {
            // What retention took meanwhile was confirmed by everybody who counts.
            Err(RelayError::BelowFloor { floor, .. }) => {
                feed::read(store, stream, (floor, head), READ).await?
            }
            read => read?,
        };
        Ok(run.messages(&self.shared.source, stream, head).into())
    }

    async fn wait(&mut self, until: Option<Duration>, stop: &CancellationToken) {
        let until = until.map(|until| self.start + until);
        let passed = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = passed => {}
            _ = self.readings.changed() => {}
            () = stop.cancelled() => {}
        }
    }
}

/// One envelope on its way to the bus: part of the trace with which it goes on, linked to others.
fn span(stream: &Stream, message: &Message) -> Span {
    let span = tracing::info_span!(
        "relay.publish",
        otel.kind = "producer",
        messaging.destination.name = %stream,
        first = message.first.get(),
        last = message.last.get(),
    );
    bus::trace::join(&span, &message.traces);
    span
}
