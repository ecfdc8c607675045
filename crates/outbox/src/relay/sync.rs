//! Where a consumer stands, and what it confirms thereby.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use contracts::calls::{Position, PositionState, StreamState, SyncRequest, SyncResponse};
use contracts::{Pn, Term, Topic};
use protocol::relay::{Held, relate};

use super::RelayError;
use super::feed::held;
use super::shared::{Reading, Shared};
use super::store::{Confirmation, StoredStream};

/// Answers a consumer, and remembers what it said of itself.
pub(super) async fn sync(
    shared: &Arc<Shared>,
    request: SyncRequest,
) -> Result<SyncResponse, RelayError> {
    check(shared, &request)?;
    // The tick begins after the request came: its heads include all that was committed before.
    let reading = shared.reading().await?;
    let SyncRequest { consumer, identity, topics, positions } = request;
    let confirmation = Confirmation { identity, topics, positions };
    confirm(shared, &consumer, &confirmation, reading.n).await?;

    let topics = &confirmation.topics;
    let positions = confirmation.positions.as_deref().unwrap_or_default();
    let related = shared.store.relate(topics, positions).await?;
    let mut streams = Vec::with_capacity(related.len());
    for (stream, stored) in related {
        let sent = positions.iter().find(|position| position.stream == stream);
        let (pn, term) = sent.map_or((Pn::ZERO, reading.root), |p| (p.pn, p.term));
        let Some(head) = reading.heads.get(&stream) else {
            // Sealed after this reading: whoever stands there heard of it from another relay.
            if sent.is_some() && stored.is_some() {
                return Err(RelayError::NotLeading);
            }
            if let Some((position, topic)) = sent.and_then(|p| Some((p, topic_of(p, topics)?))) {
                let state = relate(position.pn, position.term, reading.root, None);
                let (head, floor, term) = (Pn::ZERO, Pn::ZERO, reading.root);
                streams.push(StreamState { stream, topic, head, term, floor, state });
            }
            continue;
        };
        let floor = stored.as_ref().map(|stored| stored.floor).unwrap_or_default();
        let state = state(&reading, (pn, term), head.pn, stored.as_ref());
        let (topic, head, term) = (head.topic.clone(), head.pn, head.term);
        streams.push(StreamState { stream, topic, head, term, floor, state });
    }
    Ok(SyncResponse { streams, root: reading.root, term: Some(reading.term) })
}

fn topic_of(position: &Position, topics: &[Topic]) -> Option<Topic> {
    topics.iter().find(|topic| position.stream.belongs_to(topic)).cloned()
}

/// The head is the reading's: what was sealed since then must not be compared with it.
fn state(
    reading: &Reading,
    (pn, term): (Pn, Term),
    head: Pn,
    stored: Option<&StoredStream>,
) -> PositionState {
    let held = stored.map(held).map(|held| Held { head, ..held });
    relate(pn, term, reading.root, held)
}

fn check(shared: &Shared, request: &SyncRequest) -> Result<(), RelayError> {
    if !(1..=64).contains(&request.consumer.len()) || request.consumer.chars().any(char::is_control)
    {
        let reason = "consumer is not 1 to 64 bytes without control characters";
        return Err(RelayError::BadRequest(reason.to_owned()));
    }
    if request.topics.is_empty() {
        return Err(RelayError::BadRequest("no topic".to_owned()));
    }
    if let Some(topic) = request.topics.iter().find(|topic| topic.source() != shared.source) {
        let source_name = shared.source.clone();
        return Err(RelayError::ForeignTopic { topic: topic.clone(), source_name });
    }
    let mut seen = BTreeSet::new();
    if let Some(topic) = request.topics.iter().find(|topic| !seen.insert(*topic)) {
        return Err(RelayError::BadRequest(format!("{topic} is named twice")));
    }
    let mut seen = BTreeSet::new();
    for position in request.positions.iter().flatten() {
        let stream = &position.stream;
        if !seen.insert(stream) {
            return Err(RelayError::BadRequest(format!("two positions in {stream}")));
        }
        if !request.topics.iter().any(|topic| stream.belongs_to(topic)) {
            return Err(RelayError::BadRequest(format!("{stream} is of none of the topics")));
        }
    }
    Ok(())
}

/// What was stored last of each consumer, so that an unchanged one costs no write.
#[derive(Debug, Default)]
pub(super) struct Confirmations(Mutex<HashMap<String, Stored>>);

#[derive(Debug)]
struct Stored {
    confirmation: Confirmation,
    at: Instant,
}

/// A change is stored at most this often.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// What did not change is stored this often, to say that the consumer lives.
const STORE_UNCHANGED_EVERY: Duration = Duration::from_secs(10);

impl Confirmations {
    /// Whether this needs to be stored now. Another topic or identity always does.
    fn is_due(&self, consumer: &str, confirmation: &Confirmation) -> bool {
        let stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stored.get(&key(consumer, confirmation)).is_none_or(|stored| {
            let changed = stored.confirmation != *confirmation;
            let every = if changed { STORE_EVERY } else { STORE_UNCHANGED_EVERY };
            stored.confirmation.identity != confirmation.identity || stored.at.elapsed() >= every
        })
    }

    /// Everything is stored anew when it is said next.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn remember(&self, consumer: &str, confirmation: &Confirmation) {
        let stored = Stored { confirmation: confirmation.clone(), at: Instant::now() };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounded: names are few; a flood of them only costs writes.
        if all.len() >= 4096 {
            all.clear();
        }
        all.insert(key(consumer, confirmation), stored);
    }
}

/// A process may follow several topics with a call for each.
fn key(consumer: &str, confirmation: &Confirmation) -> String {
    let topics: Vec<&str> = confirmation.topics.iter().map(Topic::as_str).collect();
    format!("{consumer}\n{}", topics.join(" "))
}

async fn confirm(
    shared: &Shared,
    consumer: &str,
    confirmation: &Confirmation,
    n: i64,
) -> Result<(), RelayError> {
    let other = || RelayError::OtherIdentity(consumer.to_owned());
    if !shared.confirmations.is_due(consumer, confirmation) {
        // Another relay may have entered the name meanwhile, or an operator released it.
        match shared.store.identity(consumer).await? {
            Some(identity) if identity == confirmation.identity => return Ok(()),
            Some(_) => return Err(other()),
            None => {}
        }
    }
    if !shared.store.confirm(consumer, confirmation, n).await? {
        return Err(other());
    }
    shared.confirmations.remember(consumer, confirmation);
    Ok(())
}
