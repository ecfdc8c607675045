//! The files in `components/` agree with the code and with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use contracts::{Lane, Stream};
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../components");

fn documents(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(format!("{FOLDER}/{path}")).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

fn document(path: &str) -> Value {
    documents(path).pop().unwrap()
}

fn settings(lane: Lane) -> BTreeMap<String, Value> {
    let component = document(&format!("pubsub-{lane}.yaml"));
    assert_eq!(component["metadata"]["name"], format!("pubsub-{lane}"));
    assert_eq!(component["spec"]["type"], "pubsub.redis");
    let settings = component["spec"]["metadata"].as_array().unwrap().iter();
    settings
        .map(|setting| (setting["name"].as_str().unwrap().to_owned(), setting.clone()))
        .collect()
}

/// The topics that a list grants, without the app it grants them to.
fn listed(settings: &BTreeMap<String, Value>, name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = settings[name]["value"].as_str().unwrap().replace(' ', "");
    let grants = text.split(';').map(|grant| grant.rsplit_once('=').unwrap_or(("", grant)));
    grants
        .map(|(app, topics)| (app.to_owned(), topics.split(',').map(str::to_owned).collect()))
        .collect()
}

#[test]
fn every_lane_has_its_component_with_the_settings_that_keep_order() {
    for (lane, depth) in [(Lane::Critical, "16"), (Lane::Normal, "8"), (Lane::Bulk, "4")] {
        let settings = settings(lane);
        for (name, value) in [
            ("concurrency", "1"),
            ("queueDepth", depth),
            ("processingTimeout", "60000"),
            ("redeliverInterval", "15000"),
            ("streamTTL", "10m"),
        ] {
            assert_eq!(settings[name]["value"], value, "{name} of lane {lane}");
        }
        assert_eq!(settings["redisHost"]["envRef"], "SYNCLINE_REDIS_HOST");
        assert_eq!(settings["redisPassword"]["envRef"], "SYNCLINE_REDIS_PASSWORD");
        for absent in ["readTimeout", "maxLenApprox", "consumerID"] {
            assert!(!settings.contains_key(absent), "{absent} of lane {lane}");
        }
    }
}

#[test]
fn only_the_relay_publishes_and_every_topic_belongs_to_the_lane_of_its_component() {
    for lane in Lane::ALL {
        let settings = settings(lane);
        let allowed = &listed(&settings, "allowedTopics")[""];
        assert_eq!(&listed(&settings, "protectedTopics")[""], allowed);
        let publishers = listed(&settings, "publishingScopes");
        assert_eq!(publishers, BTreeMap::from([("relay".to_owned(), allowed.clone())]));
        for topic in allowed {
            assert!(topic.ends_with(&format!(".{lane}")), "{topic} in lane {lane}");
        }
        for topics in listed(&settings, "subscriptionScopes").values() {
            assert!(topics.is_subset(allowed));
        }
    }
}

/// Covers: P3.
#[test]
fn every_subscription_is_routed_to_its_stream_and_granted_by_its_lane() {
    for file in fs::read_dir(format!("{FOLDER}/subscriptions")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let consumer = name.strip_suffix(".yaml").unwrap();
        let mut subscribed = BTreeMap::<String, BTreeSet<String>>::new();
        for document in documents(&format!("subscriptions/{name}")) {
            assert_eq!(document["apiVersion"], "dapr.io/v2alpha1");
            assert_eq!(document["scopes"], json!([consumer]));
            let spec = document["spec"].as_object().unwrap();
            let stream = Stream::parse(spec["topic"].as_str().unwrap()).unwrap();
            assert_eq!(spec["routes"], json!({"default": format!("/events/{stream}")}));
            assert_eq!(document["metadata"]["name"], format!("{consumer}.{stream}"));
            assert!(!spec.contains_key("deadLetterTopic") && !spec.contains_key("bulkSubscribe"));
            let component = spec["pubsubname"].as_str().unwrap().to_owned();
            subscribed.entry(component).or_default().insert(stream.to_string());
        }
        for lane in Lane::ALL {
            let granted = listed(&settings(lane), "subscriptionScopes");
            assert_eq!(subscribed[&format!("pubsub-{lane}")], granted[consumer], "lane {lane}");
        }
    }
}

#[test]
fn a_refused_delivery_is_tried_four_times_more_within_half_a_second() {
    let resiliency = document("resiliency.yaml");
    let spec = &resiliency["spec"];
    let delivery = json!({"policy": "constant", "duration": "100ms", "maxRetries": 4});
    assert_eq!(spec["policies"]["retries"], json!({"delivery": delivery}));
    assert_eq!(spec["policies"].get("circuitBreakers"), None);
    let inbound_alone = json!({"inbound": {"retry": "delivery"}});
    let expected = Lane::ALL.map(|lane| (format!("pubsub-{lane}"), inbound_alone.clone()));
    assert_eq!(spec["targets"]["components"], Value::Object(expected.into_iter().collect()));
    // An app without an entry of its own gets three retries, which repeat writes.
    for (app, policy) in spec["targets"]["apps"].as_object().unwrap() {
        assert_eq!(policy, &json!({"timeout": "invocation"}), "{app}");
    }
}

#[test]
fn sidecars_neither_sample_nor_count_by_path_nor_reload() {
    let spec = &document("configuration.yaml")["spec"];
    assert_eq!(spec["tracing"]["samplingRate"], "0");
    assert_eq!(spec["metrics"]["http"]["increasedCardinality"], false);
    assert_eq!(spec["features"], json!([{"name": "HotReload", "enabled": false}]));
    assert_eq!(spec["nameResolution"]["component"], "sqlite");
    let file = spec["nameResolution"]["configuration"]["connectionString"].as_str().unwrap();
    assert_eq!(file, "${SYNCLINE_NAMES}");
    // See the file: the defaults lose a sidecar among many that start, and all of them in time.
    let names = &spec["nameResolution"]["configuration"];
    assert_eq!(names["busyTimeout"], "10s");
    assert_eq!(names["cleanupInterval"], "0");
    let text = fs::read_to_string(format!("{FOLDER}/configuration.yaml")).unwrap();
    assert_eq!(text.matches('$').count(), 1, "the sidecar replaces every dollar sign");
}
