//! The way of one change from its append to the last cache, put together from what relay and
//! consumers know. Hops are counted in whole microseconds, so that they add up exactly.

mod judge;
mod print;

use chrono::{DateTime, Utc};
use contracts::{Pn, Version};
use serde::Serialize;

use crate::answers::{Case, CopyTrail, Held, SourceTrail, Steps, TopicStatus};

/// The latest change of an entity, everywhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Trail {
    topic: String,
    key: String,
    version: Option<Version>,
    deleted: Option<bool>,
    op: Option<String>,
    event: Option<String>,
    trace: Option<String>,
    stream: Option<String>,
    pn: Option<Pn>,
    transport: Option<String>,
    /// When the broker answered; nobody waits for that, so it is no hop.
    confirmed_at: Option<DateTime<Utc>>,
    /// At the source.
    hops: Vec<Hop>,
    consumers: Vec<Consumer>,
    away: Vec<Away>,
    followers: Followers,
    /// Whether every known follower holds it and none has yet to notice it.
    arrived: bool,
    end_to_end: Option<EndToEnd>,
}

/// One thing that happened to the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Hop {
    hop: &'static str,
    at_service: String,
    at: DateTime<Utc>,
    /// Since the hop before it on its way.
    step_us: i64,
    since_append_us: Option<i64>,
}

/// The change at one follower of the topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Consumer {
    service: String,
    state: State,
    /// The state in words, where there is more to say than that it arrived.
    says: Option<String>,
    via: Option<String>,
    held: Option<Held>,
    position: Option<Pn>,
    head: Option<Pn>,
    case: Option<Case>,
    steps: Option<Steps>,
    hops: Vec<Hop>,
    #[serde(skip)]
    way: Vec<Hop>,
}

/// How far the change is at a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// The copy holds it or a newer version, and every sink noticed.
    Arrived,
    /// The copy holds it, and a sink has yet to notice.
    Dirty,
    /// Its number is yet to come.
    Behind,
    /// It was set aside.
    Case,
    /// Its number has passed, and the copy does not hold it.
    Missing,
    /// The follower does not answer.
    Away,
    /// Nobody can say what is newest, since the relay is away.
    Unknown,
}

/// A service that does not answer, and is not known to follow the topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Away {
    service: String,
    reason: String,
}

/// The way to the last hop of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EndToEnd {
    us: i64,
    /// Every hop of this way; their steps add up to the whole.
    hops: Vec<Hop>,
}

/// What a follower answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// What became of the change there, and the state of its copy.
    Copy(Box<(CopyTrail, TopicStatus)>),
    /// Nothing; the relay knows up to where it confirmed the stream, if it follows at all.
    Away { reason: String, confirmed: Option<Pn>, follows: Follows },
}

/// Whether it is known who all follow the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Followers {
    /// The relay named every one.
    Listed,
    /// It did not: there may be others than those that answer.
    Unlisted,
}

/// Whether a silent service is known to follow the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follows {
    /// The relay says so.
    Known,
    /// Nobody says so.
    Unknown,
}

impl Trail {
    /// Puts together what was answered, consumers in this order.
    pub(crate) fn of(
        (topic, key): (&str, &str),
        source: Option<&SourceTrail>,
        followers: Followers,
        answers: Vec<(String, Answer)>,
    ) -> Self {
        let owner = topic.split('.').next().unwrap_or_default();
        let begin = source.map_or_else(Vec::new, |source| beginning(owner, source));
        let (mut consumers, mut away) = (Vec::new(), Vec::new());
        for (service, answer) in answers {
            match answer {
                Answer::Copy(copy) => consumers.push(follower(service, source, &begin, *copy)),
                Answer::Away { reason, confirmed, follows: Follows::Known } => {
                    consumers.push(silent(service, source, confirmed, &reason));
                }
                Answer::Away { reason, .. } => away.push(Away { service, reason }),
            }
        }
        let has_arrived = |consumer: &Consumer| consumer.state == State::Arrived;
        let numbered = source.is_some_and(|source| source.pn.is_some() || pruned(source));
        let arrived =
            numbered && followers == Followers::Listed && consumers.iter().all(has_arrived);
        let end_to_end = end_to_end(&begin, &consumers);
        Self {
            topic: topic.to_owned(),
            key: key.to_owned(),
            version: source.map(|source| source.version),
            deleted: source.map(|source| source.deleted),
            op: source.and_then(|source| source.op.clone()),
            event: source.and_then(|source| source.event.clone()),
            trace: source.and_then(|source| source.trace.clone()),
            stream: source.and_then(|source| source.stream.clone()),
            pn: source.and_then(|source| source.pn),
            transport: source.and_then(|source| source.transport.clone()),
            confirmed_at: source.and_then(|source| source.confirmed_at),
            hops: chain(&begin),
            consumers,
            away,
            followers,
            arrived,
            end_to_end,
        }
    }

    /// Whether every known follower holds it and none has yet to notice it.
    pub(crate) const fn has_arrived(&self) -> bool {
        self.arrived
    }
}

/// One moment of a way: what happened, where, when.
type Moment = (&'static str, String, DateTime<Utc>);

const APPENDED: &str = "appended";
const PUBLISHED: &str = "published";

/// Retention took the change: its number is known no longer.
fn pruned(source: &SourceTrail) -> bool {
    source.appended_at.is_none()
}

/// What happened at the source, in order.
fn beginning(owner: &str, source: &SourceTrail) -> Vec<Moment> {
    let moments = [
        (APPENDED, owner, source.appended_at),
        ("sealed", "relay", source.sealed_at),
        (PUBLISHED, "relay", source.published_at),
    ];
    let known = moments.into_iter().filter_map(|(hop, at, when)| Some((hop, at.to_owned(), when?)));
    known.collect()
}

/// Hops from moments: each since the one before it, and all since the append.
fn chain(moments: &[Moment]) -> Vec<Hop> {
    let appended = moments.first().filter(|(hop, ..)| *hop == APPENDED).map(|(.., at)| *at);
    let mut before = moments.first().map(|(.., at)| *at);
    let mut hops = Vec::with_capacity(moments.len());
    for (hop, service, at) in moments {
        let at = *at;
        hops.push(Hop {
            hop,
            at_service: service.clone(),
            at,
            step_us: before.map_or(0, |before| micros(before, at)),
            since_append_us: appended.map(|appended| micros(appended, at)),
        });
        before = Some(at);
    }
    hops
}

/// Both times are rounded down first, so that steps add up.
fn micros(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    to.timestamp_micros() - from.timestamp_micros()
}

fn follower(
    service: String,
    source: Option<&SourceTrail>,
    begin: &[Moment],
    (copy, status): (CopyTrail, TopicStatus),
) -> Consumer {
    let own = own_moments(&service, &copy);
    let received = own.first().map(|(.., at)| *at);
    let is_pushed = copy.via.as_deref() == Some("push");
    // What a reader fetched never saw the broker; and what a relay published again after its
    // restart had arrived by the first time, which nobody remembers.
    let is_on_way = |(hop, _, at): &&Moment| {
        *hop != PUBLISHED || is_pushed && received.is_some_and(|received| *at <= received)
    };
    let mut way: Vec<Moment> = begin.iter().filter(is_on_way).cloned().collect();
    let shared = way.len();
    way.extend(own);
    let way = if way.len() > shared { chain(&way) } else { Vec::new() };
    let stream = source.and_then(|source| source.stream.as_deref());
    let stream = status.streams.iter().find(|it| Some(it.stream.as_str()) == stream);
    let head = stream.and_then(|stream| stream.head).max(source.and_then(|source| source.pn));
    let (state, says) = judge::judge(source, &copy, &status, head);
    Consumer {
        service,
        state,
        says,
        via: copy.via,
        held: copy.held,
        position: copy.position,
        head,
        case: copy.case,
        steps: copy.steps,
        hops: way.get(shared..).unwrap_or_default().to_vec(),
        way,
    }
}

/// What happened at a consumer, in order.
fn own_moments(service: &str, copy: &CopyTrail) -> Vec<Moment> {
    let mut moments = Vec::new();
    moments.extend(copy.received_at.map(|at| ("received", service.to_owned(), at)));
    let settled = match copy.outcome.as_deref() {
        Some("stale") => "stale",
        Some("case") => "set aside",
        _ => "applied",
    };
    moments.extend(copy.applied_at.map(|at| (settled, service.to_owned(), at)));
    if copy.applied_at.is_some() {
        let clean = copy
            .sinks
            .iter()
            .filter_map(|sink| Some(("clean", format!("{service}/{}", sink.sink), sink.clean_at?)));
        let mut clean: Vec<Moment> = clean.collect();
        clean.sort_by_key(|(.., at)| *at);
        moments.extend(clean);
    }
    moments
}

fn silent(
    service: String,
    source: Option<&SourceTrail>,
    confirmed: Option<Pn>,
    reason: &str,
) -> Consumer {
    let head = source.and_then(|source| source.pn);
    let known = match (confirmed, head) {
        (Some(pn), Some(head)) if pn >= head => {
            format!("; it had told the relay that it holds number {head}")
        }
        (Some(pn), Some(head)) => format!("; it was last heard of at pn {pn} of {head}"),
        (Some(_), None) | (None, _) => String::new(),
    };
    Consumer {
        service,
        state: State::Away,
        says: Some(format!("{reason}{known}")),
        via: None,
        held: None,
        position: confirmed,
        head,
        case: None,
        steps: None,
        hops: Vec::new(),
        way: Vec::new(),
    }
}

/// The way on which the last hop of all lies.
fn end_to_end(begin: &[Moment], consumers: &[Consumer]) -> Option<EndToEnd> {
    let begin = chain(begin);
    let ways = consumers.iter().map(|consumer| consumer.way.as_slice());
    let ways = ways.filter(|way| !way.is_empty()).chain(std::iter::once(begin.as_slice()));
    // The source's own hops only count where nothing followed.
    let last = |way: &&[Hop]| way.last().map_or(i64::MIN, |hop| hop.at.timestamp_micros());
    let followed: Vec<&[Hop]> = ways.collect();
    let (begin, followed) = followed.split_last()?;
    let way = followed.iter().copied().max_by_key(last).unwrap_or(begin);
    let us = way.last()?.since_append_us?;
    Some(EndToEnd { us, hops: way.to_vec() })
}

#[cfg(test)]
mod tests;
