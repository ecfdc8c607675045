//! A source in memory that speaks the three calls, and can be restored, silenced and cut short.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use chrono::Utc;
use contracts::calls::{
    FeedResponse, Position, PositionState, SnapshotResponse, SnapshotRow, StreamState, SyncRequest,
    SyncResponse,
};
use contracts::{Change, Header, Key, Lane, Operation, Pn, Problem, Stream, Term, Topic, Version};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use testkit::eventually;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

/// The topic that every test follows.
pub(crate) const TOPIC: &str = "shop.items";

/// What the source holds; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Origin(Arc<Mutex<Log>>);

#[derive(Debug)]
struct Log {
    root: Term,
    term: Term,
    streams: BTreeMap<Stream, Vec<(Term, Change)>>,
    floors: BTreeMap<Stream, i64>,
    current: BTreeMap<Key, SnapshotRow>,
    is_feed_silent: bool,
    garbled: VecDeque<String>,
    pages: Option<usize>,
    syncs: usize,
    /// After which numbers the feed was asked.
    asked: Vec<i64>,
    held: watch::Sender<bool>,
}

#[derive(Deserialize)]
struct After {
    after: Pn,
    term: Term,
    limit: i64,
}

#[derive(Deserialize)]
struct PageOf {
    after: Option<Key>,
    limit: usize,
}

pub(crate) fn stream(lane: Lane) -> Stream {
    Stream::new(&Topic::parse(TOPIC).unwrap(), lane)
}

fn pn(number: usize) -> Pn {
    Pn::try_from(i64::try_from(number).unwrap()).unwrap()
}

impl Origin {
    pub(crate) fn new() -> Self {
        let [root, term] = [(); 2].map(|()| Term::new(Uuid::new_v4()));
        Self(Arc::new(Mutex::new(Log {
            root,
            term,
            streams: BTreeMap::from([(stream(Lane::Normal), Vec::new())]),
            floors: BTreeMap::new(),
            current: BTreeMap::new(),
            is_feed_silent: false,
            garbled: VecDeque::new(),
            pages: None,
            syncs: 0,
            asked: Vec::new(),
            held: watch::Sender::new(false),
        })))
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap()
    }

    /// Appends a state; `None` deletes.
    pub(crate) fn put(&self, key: &str, payload: Option<&str>) -> Pn {
        self.put_in(Lane::Normal, key, payload)
    }

    pub(crate) fn put_in(&self, lane: Lane, key: &str, payload: Option<&str>) -> Pn {
        let mut log = self.log();
        let key = Key::parse(key).unwrap();
        let version = log.current.get(&key).map_or(0, |row| row.version.get()) + 1;
        let version = Version::try_from(version).unwrap();
        let payload = payload.map(|text| RawValue::from_string(text.to_owned()).unwrap());
        let row = SnapshotRow {
            key: key.clone(),
            version,
            deleted: payload.is_none(),
            payload: payload.clone(),
        };
        log.current.insert(key.clone(), row);
        let op = if payload.is_some() { Operation::Upsert } else { Operation::Delete };
        let (event, at, schema) = (Uuid::now_v7(), Utc::now(), "1".to_owned());
        let change =
            Change { key, version, op, event, at, trace: None, tenant: None, schema, payload };
        let term = log.term;
        let numbers = log.streams.entry(stream(lane)).or_default();
        numbers.push((term, change));
        pn(numbers.len())
    }

    /// Replaces the payload of a sealed change: what no sane source does.
    pub(crate) fn forge(&self, number: usize, version: i64, payload: &str) {
        let mut log = self.log();
        let (_, change) = &mut log.streams.get_mut(&stream(Lane::Normal)).unwrap()[number - 1];
        change.version = Version::try_from(version).unwrap();
        change.payload = Some(RawValue::from_string(payload.to_owned()).unwrap());
    }

    /// Goes on under another term.
    pub(crate) fn take_over(&self) {
        self.log().term = Term::new(Uuid::new_v4());
    }

    /// Forgets everything after the first changes and goes on under another term.
    pub(crate) fn restore(&self, keep: usize) {
        let mut log = self.log();
        log.term = Term::new(Uuid::new_v4());
        let numbers = log.streams.get_mut(&stream(Lane::Normal)).unwrap();
        numbers.truncate(keep);
        let kept = numbers.clone();
        log.current.clear();
        for (_, change) in kept {
            let deleted = change.op == Operation::Delete;
            let Change { key, version, payload, .. } = change;
            log.current.insert(key.clone(), SnapshotRow { key, version, deleted, payload });
        }
    }

    /// The feed holds only numbers above this one.
    pub(crate) fn truncate(&self, floor: i64) {
        self.log().floors.insert(stream(Lane::Normal), floor);
    }

    /// The feed answers 503 from now on.
    pub(crate) fn silence(&self) {
        self.log().is_feed_silent = true;
    }

    /// The feed answers again.
    pub(crate) fn speak(&self) {
        self.log().is_feed_silent = false;
    }

    /// The next answers of the feed are these.
    pub(crate) fn garble(&self, answers: impl IntoIterator<Item = String>) {
        self.log().garbled.extend(answers);
    }

    /// Only so many more pages are answered; `None` is all of them.
    pub(crate) fn allow_pages(&self, pages: Option<usize>) {
        self.log().pages = pages;
    }

    /// How many of the pages allowed have not been asked for.
    pub(crate) fn pages_left(&self) -> Option<usize> {
        self.log().pages
    }

    /// After which numbers the feed was asked so far.
    pub(crate) fn asked(&self) -> Vec<i64> {
        self.log().asked.clone()
    }

    /// How many syncs were asked for.
    pub(crate) fn syncs(&self) -> usize {
        self.log().syncs
    }

    /// Syncs wait for their answers from now on.
    pub(crate) fn hold(&self) {
        self.log().held.send_replace(true);
    }

    /// They are answered again, as the source is by then.
    pub(crate) fn release(&self) {
        self.log().held.send_replace(false);
    }

    /// Waits until the consumer has asked for another sync, which began after this call.
    pub(crate) async fn next_sync(&self) {
        let before = self.syncs();
        eventually("the source is asked again", async || Ok(self.syncs() > before + 1)).await;
    }

    pub(crate) fn head(&self) -> Pn {
        pn(self.log().streams.get(&stream(Lane::Normal)).map_or(0, Vec::len))
    }

    /// What lives: key, version and payload.
    pub(crate) fn living(&self) -> Vec<(String, i64)> {
        let log = self.log();
        let living = log.current.values().filter(|row| !row.deleted);
        living.map(|row| (row.key.to_string(), row.version.get())).collect()
    }

    /// The numbers `first..=last` of the normal lane as they would be published.
    pub(crate) fn envelope(&self, first: usize, last: usize) -> Bytes {
        self.log().envelope(&stream(Lane::Normal), first, last)
    }

    /// Serves the three calls; answers its base URL.
    pub(crate) async fn serve(&self, tasks: &mut JoinSet<()>) -> String {
        let routes = Router::new()
            .route("/sources/{source}/sync", post(sync))
            .route("/streams/{stream}", get(feed))
            .route("/snapshot/{topic}", get(snapshot))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        url
    }
}

impl Log {
    fn term_at(&self, stream: &Stream, number: usize) -> Option<Term> {
        match number {
            0 => Some(self.root),
            _ => self.streams.get(stream)?.get(number - 1).map(|(term, _)| *term),
        }
    }

    fn head(&self, stream: &Stream) -> Position {
        let last = self.streams.get(stream).map_or(0, Vec::len);
        let term = self.term_at(stream, last).unwrap();
        Position { stream: stream.clone(), pn: pn(last), term }
    }

    fn state(&self, at: &Position) -> PositionState {
        let number = usize::try_from(at.pn.get()).unwrap();
        if self.term_at(&at.stream, number) != Some(at.term) {
            PositionState::Diverged
        } else if at.pn.get() < self.floors.get(&at.stream).copied().unwrap_or(0) {
            PositionState::BehindFloor
        } else {
            PositionState::Ok
        }
    }

    fn envelope(&self, stream: &Stream, first: usize, last: usize) -> Bytes {
        let changes: Vec<_> =
            self.streams[stream][first - 1..last].iter().map(|(_, c)| c.clone()).collect();
        let header = Header {
            source: Topic::parse(TOPIC).unwrap().source(),
            stream: stream.clone(),
            first: pn(first),
            last: pn(last),
            term: self.term_at(stream, first).unwrap(),
            previous: self.term_at(stream, first - 1).unwrap(),
            head: pn(self.streams[stream].len()),
            time: Utc::now(),
            trace: None,
        };
        header.encode(&changes)
    }
}

async fn sync(
    State(origin): State<Origin>,
    Json(request): Json<SyncRequest>,
) -> Json<SyncResponse> {
    let mut held = {
        let mut log = origin.log();
        log.syncs += 1;
        log.held.subscribe()
    };
    held.wait_for(|held| !held).await.unwrap();
    let log = origin.log();
    let positions = request.positions.unwrap_or_default();
    let streams = log.streams.keys().map(|stream| {
        let Position { pn: head, term, .. } = log.head(stream);
        let known = positions.iter().find(|at| at.stream == *stream);
        let root = Position { stream: stream.clone(), pn: Pn::ZERO, term: log.root };
        StreamState {
            stream: stream.clone(),
            topic: Topic::parse(TOPIC).unwrap(),
            head,
            term,
            floor: Pn::try_from(log.floors.get(stream).copied().unwrap_or(0)).unwrap(),
            state: log.state(known.unwrap_or(&root)),
        }
    });
    Json(SyncResponse { streams: streams.collect(), root: log.root, term: Some(log.term) })
}

async fn feed(
    State(origin): State<Origin>,
    Path(stream): Path<Stream>,
    Query(query): Query<After>,
) -> Response {
    let mut log = origin.log();
    log.asked.push(query.after.get());
    if log.is_feed_silent {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Some(garbled) = log.garbled.pop_front() {
        return garbled.into_response();
    }
    let at = Position { stream: stream.clone(), pn: query.after, term: query.term };
    let refused = match log.state(&at) {
        PositionState::Ok => None,
        PositionState::Diverged => Some((StatusCode::CONFLICT, "diverged")),
        PositionState::BehindFloor => Some((StatusCode::GONE, "below-floor")),
    };
    if let Some((status, code)) = refused {
        return (status, Json(Problem::new(status.as_u16(), code, code))).into_response();
    }
    let after = usize::try_from(query.after.get()).unwrap();
    let head = log.streams[&stream].len();
    let limit = usize::try_from(query.limit).unwrap();
    let mut envelopes: Vec<Box<RawValue>> = Vec::new();
    let mut first = after + 1;
    while first <= head.min(after + limit) {
        let term = log.term_at(&stream, first);
        let mut last = first;
        while last < head.min(after + limit)
            && last - first < 9
            && log.term_at(&stream, last + 1) == term
        {
            last += 1;
        }
        let raw = String::from_utf8(log.envelope(&stream, first, last).to_vec()).unwrap();
        envelopes.push(RawValue::from_string(raw).unwrap());
        first = last + 1;
    }
    Json(FeedResponse { envelopes, head: pn(head) }).into_response()
}

async fn snapshot(State(origin): State<Origin>, Query(query): Query<PageOf>) -> Response {
    let mut log = origin.log();
    if log.pages == Some(0) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    log.pages = log.pages.map(|pages| pages - 1);
    let after = |key: &Key| query.after.as_ref().is_none_or(|after| key > after);
    let rows: Vec<_> =
        log.current.values().filter(|row| after(&row.key)).take(query.limit).cloned().collect();
    let next = rows.last().map(|row| row.key.clone()).filter(|_| rows.len() == query.limit);
    let heads = log.streams.keys().map(|stream| log.head(stream)).collect();
    Json(SnapshotResponse { rows, next, heads, root: log.root }).into_response()
}

/// A payload of the shape that the test projection wants.
pub(crate) fn item(name: &str, size: i32) -> String {
    to_raw_value(&serde_json::json!({"name": name, "size": size})).unwrap().get().to_owned()
}
