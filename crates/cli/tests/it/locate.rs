//! `syncline where` against a relay and two consumers.

use serde_json::{Value, json};

use crate::fake::{Fake, syncline};

const WHERE: &str = "/sync/where/pricing.prices";

fn change() -> Value {
    json!({
        "topic": "pricing.prices", "key": "MH01", "version": "7", "deleted": false,
        "transport": "dapr", "event": null, "op": "upsert", "trace": null,
        "stream": "pricing.prices.normal", "pn": "103",
        "term": "00000000-0000-4000-8000-000000000000",
        "appended_at": "2026-01-01T12:00:00.000100Z",
        "sealed_at": "2026-01-01T12:00:00.001Z",
        "published_at": "2026-01-01T12:00:00.0015Z",
        "confirmed_at": "2026-01-01T12:00:00.002Z",
    })
}

fn relay() -> Fake {
    Fake::with(&[
        ("/where/pricing.prices", change()),
        (
            "/sync/status",
            json!({"sources": [{
                "source": "pricing", "state": "leading", "error": null, "unpublished": 0,
                "consumers": [
                    {"consumer": "gateway", "positions": [
                        {"stream": "pricing.prices.normal", "pn": "101"},
                    ]},
                    {"consumer": "search-indexer", "positions": [
                        {"stream": "pricing.prices.normal", "pn": "103"},
                    ]},
                    {"consumer": "warehouse", "positions": []},
                ],
            }]}),
        ),
    ])
}

fn status() -> Value {
    json!({"ready": true, "dirty": [], "topics": [{
        "topic": "pricing.prices", "phase": "serving", "open_cases": 0, "complaint": null,
        "error": null,
        "streams": [{"stream": "pricing.prices.normal", "position": "103", "head": "103",
                     "lag_events": 0, "lag_seconds": 0.0}],
    }]})
}

fn consumer(applied_at: &str, clean_at: &str) -> Fake {
    let copy = json!({
        "topic": "pricing.prices", "key": "MH01", "phase": "serving",
        "held": {"history": "1", "version": "7", "deleted": false},
        "stream": "pricing.prices.normal", "pn": "103", "position": "103",
        "via": "push", "outcome": "applied", "received_at": "2026-01-01T12:00:00.0020Z",
        "applied_at": applied_at, "steps": {"lock_us": 1, "gate_us": 2, "apply_us": 3},
        "sinks": [{"sink": "cache", "clean_at": clean_at, "dirty": false}],
        "case": null, "dirty": false,
    });
    Fake::with(&[("/sync/status", status()), (WHERE, copy)])
}

#[test]
fn every_hop_at_all_consumers_adds_up_to_the_end_to_end_time() {
    let relay = relay();
    let slow = consumer("2026-01-01T12:00:00.005Z", "2026-01-01T12:00:00.017345Z");
    let fast = consumer("2026-01-01T12:00:00.003Z", "2026-01-01T12:00:00.004Z");
    let services =
        [("relay", &*relay.url), ("gateway", &*slow.url), ("search-indexer", &*fast.url)];
    let said = syncline(&services, &["where", "price", "MH01", "--json"], "");
    assert_eq!(said.code, 0, "{said:?}");
    let trail = said.json();
    let way = &trail["end_to_end"];
    assert_eq!(way["us"], 17_245);
    let steps = way["hops"].as_array().unwrap().iter().map(|hop| hop["step_us"].as_i64().unwrap());
    assert_eq!(steps.sum::<i64>(), 17_245);
    let consumers = trail["consumers"].as_array().unwrap();
    let names: Vec<_> = consumers.iter().map(|it| it["service"].as_str().unwrap()).collect();
    assert_eq!(names, ["gateway", "search-indexer"]);
    // Those who do not follow and do not answer are named, and hold nothing up.
    assert_eq!(trail["away"].as_array().unwrap().len(), 3, "{trail}");
    let asked = slow.asked();
    let question = asked.iter().find(|it| it.line.contains(WHERE)).unwrap();
    assert!(question.line.contains("key=MH01&stream=pricing.prices.normal&pn=103"), "{question:?}");

    let said = syncline(&services, &["where", "price", "MH01"], "");
    let end = "arrived at all 2 followers; last hop at gateway/cache after 17.245 ms = sealed \
               0.900 + published 0.500 + received 0.500 + applied 3.000 + clean 12.345\n";
    assert!(said.out.ends_with(end), "{}", said.out);
}

#[test]
fn a_follower_that_is_away_is_a_line_with_what_it_confirmed() {
    let relay = relay();
    let fast = consumer("2026-01-01T12:00:00.003Z", "2026-01-01T12:00:00.004Z");
    let services = [("relay", &*relay.url), ("search-indexer", &*fast.url)];
    let said = syncline(&services, &["where", "price", "MH01"], "");
    assert_eq!(said.code, 3, "{said:?}");
    let line = "gateway: no answer from http://127.0.0.1:9: connection refused; is it running?; \
                it was last heard of at pn 101 of 103\n";
    assert!(said.out.contains(line), "{}", said.out);
    assert!(said.out.contains("arrived at 1 of 2 followers so far; last hop"), "{}", said.out);
}

#[test]
fn a_relay_that_is_away_leaves_what_the_consumers_hold() {
    let copy = consumer("2026-01-01T12:00:00.003Z", "2026-01-01T12:00:00.004Z");
    let said = syncline(&[("gateway", &copy.url)], &["where", "price", "MH01"], "");
    assert_eq!(said.code, 3, "{said:?}");
    for line in ["gateway: holds version 7; the relay cannot say", "relay: no answer from http"] {
        assert!(said.out.contains(line), "{}", said.out);
    }
}

#[test]
fn what_never_was_is_an_error_that_names_it() {
    let problem = json!({
        "type": "/problems/unknown-key", "title": "The entity never existed", "status": 404,
        "code": "unknown-key", "detail": "topic pricing.prices never had the key MH99",
    });
    let relay = Fake::serve(move |_, _| Some((404, problem.to_string())));
    let said = syncline(&[("relay", &relay.url)], &["where", "price", "MH99"], "");
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.err, "syncline: topic pricing.prices never had the key MH99\n");
    let said = syncline(&[], &["where", "prize", "MH99"], "");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("there is no entity \"prize\""), "{}", said.err);
}

#[test]
fn waiting_ends_when_it_arrived_everywhere() {
    let relay = relay();
    let late = json!({
        "topic": "pricing.prices", "key": "MH01", "phase": "serving", "held": null,
        "position": "101", "via": null, "outcome": null, "received_at": null, "applied_at": null,
        "steps": null, "sinks": [], "case": null, "dirty": false,
    });
    let mut there = late.clone();
    there["held"] = json!({"history": "1", "version": "7", "deleted": false});
    there["position"] = json!("103");
    let gateway = Fake::serve(move |line, before| {
        let body = match (line.contains(WHERE), before < 6) {
            (false, _) => status(),
            (true, true) => late.clone(),
            (true, false) => there.clone(),
        };
        Some((200, body.to_string()))
    });
    let fast = consumer("2026-01-01T12:00:00.003Z", "2026-01-01T12:00:00.004Z");
    let services =
        [("relay", &*relay.url), ("gateway", &*gateway.url), ("search-indexer", &*fast.url)];
    let said = syncline(&services, &["where", "price", "MH01"], "");
    assert_eq!(said.code, 3);
    assert!(said.out.contains("gateway: at pn 101 of 103, 2 behind\n"), "{}", said.out);
    let said = syncline(&services, &["where", "price", "MH01", "--wait", "20"], "");
    assert_eq!(said.code, 0, "{said:?}");
}

/// Whoever is away may follow it, and nobody says that it does not.
#[test]
fn who_follows_has_to_be_known_before_it_arrived_everywhere() {
    let statuses = [
        (500, "{}".to_owned()),
        (200, json!({"sources": []}).to_string()),
        (
            200,
            json!({"sources": [{
                "source": "pricing", "state": "away", "error": "the database is away",
                "unpublished": 0, "consumers": [],
            }]})
            .to_string(),
        ),
    ];
    let copy = consumer("2026-01-01T12:00:00.003Z", "2026-01-01T12:00:00.004Z");
    for status in statuses {
        let relay = Fake::serve(move |line, _| {
            if line.contains("/where/") {
                Some((200, change().to_string()))
            } else {
                Some(status.clone())
            }
        });
        for (followers, there) in [(&[][..], 0), (&[("gateway", &*copy.url)][..], 1)] {
            let services = [&[("relay", &*relay.url)], followers].concat();
            let said = syncline(&services, &["where", "price", "MH01"], "");
            assert_eq!(said.code, 3, "{said:?}");
            assert!(said.out.contains("relay: does not say who follows: "), "{}", said.out);
            let verdict = format!("arrived at {there} followers; who else follows it is not known");
            assert!(said.out.contains(&verdict), "{}", said.out);
        }
    }
}
