//! `syncline lag` against a relay and a consumer.

use serde_json::json;

use crate::fake::{Fake, syncline};

fn relay() -> Fake {
    Fake::with(&[(
        "/sync/status",
        json!({"sources": [{
            "source": "pricing", "state": "leading", "error": null, "unpublished": 0,
            "consumers": [],
        }]}),
    )])
}

#[test]
fn a_bound_makes_being_behind_a_failure() {
    let relay = relay();
    let gateway = Fake::with(&[(
        "/sync/status",
        json!({
            "ready": true, "dirty": [{"sink": "cache", "keys": 3, "oldest_seconds": 0.4}],
            "topics": [{
                "topic": "pricing.prices", "phase": "serving", "open_cases": 0,
                "complaint": null, "error": null, "answered_seconds_ago": 0.3,
                "streams": [{"stream": "pricing.prices.normal", "position": "101",
                             "head": "103", "lag_events": 2, "lag_seconds": 1.5}],
            }],
        }),
    )]);
    let nothing = Fake::with(&[]);
    let owner = Fake::with(&[(
        "/sync/status",
        json!({"service": "catalog", "ready": true, "topics": [{"topic": "catalog.products"}]}),
    )]);
    let services = ["pricing", "warehouse", "search-indexer"];
    let mut services: Vec<_> = services.map(|name| (name, &*nothing.url)).into();
    services.extend([("relay", &*relay.url), ("gateway", &*gateway.url)]);
    services.push(("catalog", &*owner.url));

    let said = syncline(&services, &["lag"], "");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("gateway   pricing.prices.normal       101   103       2    1.500"));
    assert_eq!(syncline(&services, &["lag", "--max-seconds", "2"], "").code, 0);
    let said = syncline(&services, &["lag", "--max-seconds", "1", "--json"], "");
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.json()["streams"][0]["events"], 2);
    assert_eq!(said.json()["dirty"][0]["sink"], "cache");
    // Who is away cannot be known to be in step.
    let said = syncline(&services[3..5], &["lag", "--max-seconds", "2"], "");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("catalog: no answer from http://127.0.0.1:9"), "{}", said.out);
}

/// As after the source was restored to an older state: the copy is ahead of it, and stands still.
#[test]
fn copies_that_stand_still_are_shown_and_are_never_in_step() {
    let relay = relay();
    let topic = |topic: &str, phase: &str, streams| {
        json!({
            "topic": topic, "phase": phase, "open_cases": 0, "complaint": null, "error": null,
            "answered_seconds_ago": 0.3, "streams": streams,
        })
    };
    let ahead = json!([{
        "stream": "pricing.prices.normal", "position": "103", "head": "101", "lag_events": 0,
        "lag_seconds": 0.0,
    }]);
    let serving = topic("pricing.prices", "serving", ahead.clone());
    for (standing, told) in [
        (topic("pricing.prices", "diverged", ahead), "0.000      0  diverged\n"),
        (topic("warehouse.stock", "new", json!([])), "warehouse.stock"),
    ] {
        let status = json!({"ready": true, "dirty": [], "topics": [serving, standing]});
        let gateway = Fake::with(&[("/sync/status", status)]);
        let nothing = Fake::with(&[]);
        let services = ["catalog", "pricing", "warehouse", "search-indexer"];
        let mut services: Vec<_> = services.map(|name| (name, &*nothing.url)).into();
        services.extend([("relay", &*relay.url), ("gateway", &*gateway.url)]);
        let said = syncline(&services, &["lag", "--max-seconds", "60"], "");
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains(told), "{}", said.out);
    }
}
