//! The bodies of the calls have the documented shapes, and are read back as they were written.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

fn stream() -> Stream {
    Stream::parse("catalog.products.normal").unwrap()
}

fn topic() -> Topic {
    Topic::parse("catalog.products").unwrap()
}

fn pn(pn: i64) -> Pn {
    Pn::try_from(pn).unwrap()
}

fn term(term: u128) -> Term {
    Term::new(Uuid::from_u128(term))
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

/// The value on the wire, which must say all that there is to say.
fn wire<T: Serialize + DeserializeOwned>(body: &T) -> Value {
    let bytes = serde_json::to_vec(body).unwrap();
    let again: T = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), bytes);
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_consumer_says_where_it_stands() {
    let position = Position { stream: stream(), pn: pn(101), term: term(2) };
    let first = SyncRequest {
        consumer: "search-indexer".to_owned(),
        identity: Uuid::from_u128(9),
        topics: vec![topic()],
        positions: None,
    };
    let later = SyncRequest { positions: Some(vec![position]), ..first.clone() };
    insta::assert_json_snapshot!([wire(&first), wire(&later)]);
}

#[test]
fn a_source_says_how_its_streams_relate_to_the_consumer() {
    let state = |state| StreamState {
        stream: stream(),
        topic: topic(),
        head: pn(103),
        term: term(2),
        floor: pn(7),
        state,
    };
    let states = [PositionState::Ok, PositionState::BehindFloor, PositionState::Diverged];
    let (streams, root) = (states.map(state).to_vec(), term(1));
    let response = SyncResponse { streams, root, term: Some(term(3)) };
    insta::assert_json_snapshot!(wire(&response));
}

#[test]
fn the_feed_answers_finished_envelopes() {
    let response = FeedResponse { envelopes: vec![raw(r#"{"specversion":"1.0"}"#)], head: pn(103) };
    insta::assert_json_snapshot!(wire(&response));
}

#[test]
fn a_page_of_the_snapshot_holds_the_deleted_too() {
    let row = |key: &str, payload: Option<&str>| SnapshotRow {
        key: Key::parse(key).unwrap(),
        version: Version::try_from(7).unwrap(),
        deleted: payload.is_none(),
        payload: payload.map(raw),
    };
    let response = SnapshotResponse {
        rows: vec![row("MH01", Some(r#"{"price": 10.10}"#)), row("MH02", None)],
        next: Some(Key::parse("MH02").unwrap()),
        heads: vec![Position { stream: stream(), pn: pn(103), term: term(2) }],
        root: term(1),
    };
    let text = serde_json::to_string(&response).unwrap();
    assert!(text.contains(r#"{"price": 10.10}"#), "the payload's bytes: {text}");
    insta::assert_json_snapshot!(wire(&SnapshotResponse { next: None, ..response.clone() }));
    assert_eq!(wire(&response)["next"], "MH02");
}
