//! Where the latest change of an entity is: number and times, and what stays known of an old one.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use bus::{Bus, Memory};
use outbox::Turn;

use crate::world::{ITEMS, Running, World, items_stream, numbered, put, remove};

async fn ask(running: &Running, key: &str) -> (u16, Value) {
    let (status, answer) = running.get(&format!("/where/{ITEMS}?key={key}")).await.unwrap();
    (status.as_u16(), answer)
}

/// Where the key's latest change is, once the broker has it.
async fn published(running: &Running, key: &str) -> Value {
    testkit::eventually("the broker has it", || async {
        Ok(!ask(running, key).await.1["confirmed_at"].is_null())
    })
    .await;
    ask(running, key).await.1
}

fn time(answer: &Value, hop: &str) -> DateTime<Utc> {
    let raw = answer[hop].as_str();
    raw.expect(hop).parse().unwrap()
}

#[tokio::test]
async fn a_change_is_found_with_its_number_and_every_time_of_its_way() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let running = Running::start(world.relay(Bus::memory(&Memory::new())).unwrap());
    running.leading().await;
    put(&client, "a", "{}").await.unwrap();
    put(&client, "b", "{}").await.unwrap();
    put(&client, "a", "{\"n\":2}").await.unwrap();

    let answer = published(&running, "a").await;
    let stream = items_stream();
    assert_eq!(answer["stream"], json!(stream), "{answer}");
    let (version, pn) = (answer["version"].clone(), answer["pn"].clone());
    assert_eq!((version, pn, &answer["op"]), (json!("2"), json!("3"), &json!("upsert")));
    assert_eq!((&answer["deleted"], &answer["key"]), (&json!(false), &json!("a")));
    let hops = ["appended_at", "sealed_at", "published_at", "confirmed_at"];
    let times = hops.map(|hop| time(&answer, hop));
    assert!(times.is_sorted(), "{answer}");

    remove(&client, "b").await.unwrap();
    let answer = published(&running, "b").await;
    let (version, deleted) = (&answer["version"], &answer["deleted"]);
    assert_eq!((version, deleted, &answer["op"]), (&json!("2"), &json!(true), &json!("delete")));
    running.stop().await;
}

#[tokio::test]
async fn every_key_of_a_mixed_backlog_has_the_number_that_the_feed_gives_it() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let rival = world.client().await.unwrap();
    // Interleaved transactions, and appends in savepoints, whose xids are others.
    rival.batch_execute("begin").await.unwrap();
    put(&rival, "early", "{}").await.unwrap();
    let nested = "begin; select outbox.append('shop.items', 'whole', 'upsert', '{}'); savepoint a;
        select outbox.append('shop.items', 'nested', 'upsert', '{}'); savepoint b;
        select outbox.append('shop.items', 'deeper', 'upsert', '{}'); commit";
    client.batch_execute(nested).await.unwrap();
    let running = world.running().await.unwrap();
    put(&client, "later", "{}").await.unwrap();
    testkit::eventually("it is sealed", || async {
        Ok(!ask(&running, "later").await.1["pn"].is_null())
    })
    .await;
    rival.batch_execute("commit").await.unwrap();
    let many = "select outbox.append_many('shop.items',
                  array(select 'k' || n from generate_series(1, 1500) n),
                  array(select '{}'::bytea from generate_series(1, 1500)),
                  array(select gen_random_uuid() from generate_series(1, 1500)))";
    client.batch_execute(many).await.unwrap();
    testkit::eventually("all is sealed", || async {
        Ok(!ask(&running, "k1500").await.1["pn"].is_null())
    })
    .await;

    let root = client.query_one("select root::text from outbox.tick", &[]).await.unwrap();
    let root: String = root.get("root");
    let uri = format!("/streams/{}?after=0&term={root}&limit=5000", items_stream());
    let fed = numbered(&running.get(&uri).await.unwrap().1).unwrap();
    assert_eq!(fed.len(), 1_505);
    for change in fed.iter().filter(|change| !change.key.starts_with('k') || change.pn % 97 == 0) {
        let (status, answer) = ask(&running, &change.key).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["pn"], change.pn.to_string(), "{answer}");
        assert_eq!(answer["event"], change.event.to_string(), "{answer}");
        assert_eq!(answer["term"], json!(change.term), "{answer}");
    }
    running.stop().await;
}

#[tokio::test]
async fn without_a_broker_and_after_a_restart_the_times_of_publishing_are_unknown() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let first = Running::start(world.relay(Bus::memory(&Memory::new())).unwrap());
    put(&client, "a", "{}").await.unwrap();
    published(&first, "a").await;
    first.stop().await;

    let second = world.running().await.unwrap();
    let (_, answer) = ask(&second, "a").await;
    assert_eq!((&answer["pn"], &answer["transport"]), (&json!("1"), &json!("none")));
    assert!(answer["published_at"].is_null() && answer["confirmed_at"].is_null(), "{answer}");
    time(&answer, "sealed_at");
    second.stop().await;
}

#[tokio::test]
async fn a_change_without_a_number_yet_says_when_it_was_appended() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    put(&client, "a", "{}").await.unwrap();
    let by_hand = Running::by_hand(world.relay(Bus::none()).unwrap());
    let (status, answer) = ask(&by_hand, "a").await;
    assert_eq!(status, 200, "{answer}");
    time(&answer, "appended_at");
    assert!(answer["pn"].is_null() && answer["sealed_at"].is_null(), "{answer}");
}

#[tokio::test]
async fn of_a_change_that_retention_took_the_version_stays_known() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let by_hand = Running::by_hand(world.relay(Bus::none()).unwrap());
    put(&client, "a", "{}").await.unwrap();
    put(&client, "b", "{}").await.unwrap();
    assert_eq!(by_hand.relay.turn().await.unwrap(), Turn::Sealed(2));
    assert_eq!(ask(&by_hand, "b").await.1["pn"], "2");
    // A row that is gone shifts the numbers behind it, which are then nobody's.
    client.execute("delete from outbox.change where key = 'a'", &[]).await.unwrap();
    let (status, problem) = ask(&by_hand, "b").await;
    assert_eq!((status, &problem["code"]), (500, &json!("damaged")), "{problem}");
    client.batch_execute("truncate outbox.change; truncate outbox.segment").await.unwrap();
    let (status, answer) = ask(&by_hand, "b").await;
    assert_eq!((status, &answer["version"]), (200, &json!("1")), "{answer}");
    for field in ["event", "stream", "pn", "appended_at", "sealed_at", "published_at"] {
        assert!(answer[field].is_null(), "{field} of {answer}");
    }
}

#[tokio::test]
async fn what_never_existed_is_named_and_not_found() {
    let world = World::new().await.unwrap();
    let by_hand = Running::by_hand(world.relay(Bus::none()).unwrap());
    let (status, problem) = ask(&by_hand, "nothing").await;
    assert_eq!((status, &problem["code"]), (404, &json!("unknown-key")));
    assert_eq!(problem["detail"], "topic shop.items never had the key nothing");
    let (status, problem) = by_hand.get("/where/shop.others?key=a").await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("unknown-topic")));
    assert_eq!(problem["detail"], "the source shop has no topic shop.others");
    let (status, problem) = by_hand.get("/where/crm.people?key=a").await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("unknown-source")));
    for uri in ["/where/shop.items", "/where/shop.items?key=", "/where/Shop?key=a"] {
        let (status, problem) = by_hand.get(uri).await.unwrap();
        assert_eq!(status.as_u16(), 400, "{uri}: {problem}");
    }
}
