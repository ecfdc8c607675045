//! Trails from answers: hops add up, and every way of not having arrived is told.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;

fn at(us: i64) -> DateTime<Utc> {
    let start: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    start + TimeDelta::microseconds(us)
}

fn source() -> SourceTrail {
    serde_json::from_value(json!({
        "topic": "pricing.prices", "key": "MH01", "version": "7", "deleted": false,
        "transport": "dapr", "event": "019f0000-0000-7000-8000-000000000000", "op": "upsert",
        "trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "stream": "pricing.prices.normal", "pn": "103",
        "term": "00000000-0000-4000-8000-000000000000",
        "appended_at": at(0), "sealed_at": at(1_204), "published_at": at(1_554),
        "confirmed_at": at(2_900),
    }))
    .unwrap()
}

fn copy(change: impl FnOnce(&mut Value)) -> Answer {
    let mut answer = json!({
        "phase": "serving", "held": {"history": "1", "version": "7", "deleted": false},
        "position": "103", "via": "push", "outcome": "applied",
        "received_at": at(2_210), "applied_at": at(4_001),
        "steps": {"lock_us": 310, "gate_us": 220, "apply_us": 990},
        "case": null, "dirty": false, "topic": "pricing.prices", "key": "MH01",
        "sinks": [{"sink": "index", "clean_at": at(9_876), "dirty": false}],
    });
    change(&mut answer);
    Answer::Copy(Box::new((serde_json::from_value(answer).unwrap(), status(None))))
}

fn status(error: Option<&str>) -> TopicStatus {
    serde_json::from_value(json!({
        "topic": "pricing.prices", "phase": "serving", "open_cases": 0, "complaint": null,
        "error": error,
        "streams": [{
            "stream": "pricing.prices.normal", "position": "101", "head": "103",
            "lag_events": 2, "lag_seconds": 1.5,
        }],
    }))
    .unwrap()
}

fn trail(source: Option<&SourceTrail>, answers: Vec<(&str, Answer)>) -> Trail {
    let answers = answers.into_iter().map(|(name, answer)| (name.to_owned(), answer)).collect();
    Trail::of(("pricing.prices", "MH01"), source, Followers::Listed, answers)
}

fn two() -> Vec<(&'static str, Answer)> {
    let gateway = copy(|it| {
        it["via"] = json!("feed");
        it["received_at"] = json!(at(3_000));
        it["applied_at"] = json!(at(15_000));
        it["sinks"] = json!([
            {"sink": "webhooks", "clean_at": at(31_000), "dirty": false},
            {"sink": "cache", "clean_at": at(20_001), "dirty": false},
        ]);
    });
    vec![("search-indexer", copy(|_| {})), ("gateway", gateway)]
}

#[test]
fn a_change_that_arrived_is_printed_hop_by_hop() {
    let trail = trail(Some(&source()), two());
    insta::assert_snapshot!(trail.text());
    insta::assert_json_snapshot!(trail);
}

#[test]
fn hops_add_up_to_the_end_to_end_time_exactly() {
    // Nanoseconds are cut off, not rounded into the steps.
    let mut odd = source();
    odd.sealed_at = odd.sealed_at.map(|at| at + TimeDelta::nanoseconds(999));
    odd.published_at = odd.published_at.map(|at| at + TimeDelta::nanoseconds(501));
    let trail = trail(Some(&odd), two());
    let way = trail.end_to_end.as_ref().unwrap();
    assert_eq!(way.us, 31_000);
    assert_eq!(way.hops.iter().map(|hop| hop.step_us).sum::<i64>(), way.us);
    for consumer in &trail.consumers {
        let last = consumer.way.last().unwrap().since_append_us;
        assert_eq!(Some(consumer.way.iter().map(|hop| hop.step_us).sum::<i64>()), last);
    }
    // What a reader fetched did not come by the broker.
    let hops: Vec<_> = way.hops.iter().map(|hop| hop.hop).collect();
    assert_eq!(hops, ["appended", "sealed", "received", "applied", "clean", "clean"]);
}

#[test]
fn where_a_change_is_not_yet_is_said_plainly() {
    let behind = copy(|it| {
        it["held"]["version"] = json!("6");
        it["position"] = json!("101");
        for field in ["via", "outcome", "received_at", "applied_at", "steps"] {
            it[field] = Value::Null;
        }
        it["sinks"][0]["clean_at"] = Value::Null;
    });
    let mut stuck = behind.clone();
    if let Answer::Copy(copy) = &mut stuck {
        copy.1 = status(Some("ask relay: it took too long"));
    }
    let diverged = copy(|it| {
        it["held"] = Value::Null;
        it["phase"] = json!("diverged");
    });
    let set_aside = copy(|it| {
        it["held"] = Value::Null;
        it["outcome"] = json!("case");
        it["case"] = json!({"id": "17", "kind": "invalid", "reason": "amount is below 0"});
    });
    let dirty = copy(|it| {
        it["sinks"][0] = json!({"sink": "index", "clean_at": null, "dirty": true});
    });
    let newer = copy(|it| it["held"]["version"] = json!("8"));
    let stale = copy(|it| it["outcome"] = json!("stale"));
    let loaded = copy(|it| {
        it["via"] = json!("snapshot");
        it["received_at"] = Value::Null;
        it["applied_at"] = Value::Null;
    });
    let refused = "no answer from http://127.0.0.1:8080: connection refused; is it running?";
    let away = |follows, confirmed: Option<i64>| Answer::Away {
        reason: refused.to_owned(),
        confirmed: confirmed.map(|pn| Pn::try_from(pn).unwrap()),
        follows,
    };
    let trail = trail(
        Some(&source()),
        vec![
            ("behind", behind),
            ("stuck", stuck),
            ("diverged", diverged),
            ("case", set_aside),
            ("dirty", dirty),
            ("newer", newer),
            ("stale", stale),
            ("loaded", loaded),
            ("gateway", away(Follows::Known, Some(101))),
            ("catalog", away(Follows::Unknown, None)),
        ],
    );
    insta::assert_snapshot!(trail.text());
    let states: Vec<_> = trail.consumers.iter().map(|consumer| consumer.state).collect();
    let arrived = [State::Arrived; 3];
    assert_eq!(
        states[..5],
        [State::Behind, State::Behind, State::Missing, State::Case, State::Dirty]
    );
    assert_eq!(states[5..8], arrived);
    assert_eq!(states[8..], [State::Away]);
    assert!(!trail.has_arrived());
}

#[test]
fn what_the_source_no_longer_or_not_yet_knows_is_said() {
    let mut unsealed = source();
    (unsealed.pn, unsealed.stream, unsealed.sealed_at) = (None, None, None);
    (unsealed.published_at, unsealed.confirmed_at) = (None, None);
    let early = copy(|it| {
        it["held"]["version"] = json!("6");
        it["received_at"] = Value::Null;
        it["applied_at"] = Value::Null;
    });
    let unnumbered = trail(Some(&unsealed), vec![("gateway", early)]);
    assert!(!unnumbered.has_arrived());
    let mut pruned = unsealed.clone();
    pruned.appended_at = None;
    let old = trail(Some(&pruned), vec![("gateway", copy(|it| it["via"] = Value::Null))]);
    assert!(old.has_arrived() && old.end_to_end.is_none());
    let unfollowed = trail(Some(&source()), Vec::new());
    assert!(unfollowed.has_arrived());
    let silent = trail(None, two());
    assert!(!silent.has_arrived());
    let mut restarted = source();
    restarted.published_at = Some(at(3_600_000));
    let again = trail(Some(&restarted), vec![("search-indexer", copy(|_| {}))]);
    let all = [unnumbered, old, unfollowed, silent, again].map(|trail| trail.text());
    insta::assert_snapshot!(all.join("\n----\n"));
}
