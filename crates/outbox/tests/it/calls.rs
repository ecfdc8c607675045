//! The three calls: sync, feed and snapshot, and the registration that sync does.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio_postgres::Client;

use bus::Bus;
use outbox::{Config, Turn};

use crate::proxy::{Proxy, Wire};
use crate::world::{ITEMS, Running, SEAL, World, items_stream, numbered, put, relay_at, remove};

async fn world() -> (World, Client, Running) {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let running = world.running().await.unwrap();
    (world, client, running)
}

fn position(pn: i64, term: &Value) -> Value {
    json!([{ "stream": items_stream(), "pn": pn.to_string(), "term": term }])
}

async fn feed(running: &Running, after: i64, term: &Value, limit: i64) -> (StatusCode, Value) {
    let (stream, term) = (items_stream(), term.as_str().unwrap());
    let uri = format!("/streams/{stream}?after={after}&term={term}&limit={limit}");
    running.get(&uri).await.unwrap()
}

/// What is registered of a consumer's position in the items: number and hold.
async fn stored(client: &Client) -> Vec<(Option<i64>, Option<i64>)> {
    let sql = "select p.pn, t.hold_n from outbox.consumer_topic t
                 left join outbox.consumer_position p using (consumer, topic)";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get("pn"), row.get("hold_n"))).collect()
}

#[tokio::test]
async fn sync_answers_heads_that_include_everything_committed_before_it() {
    let (_world, client, running) = world().await;
    for n in 1..=20 {
        put(&client, &format!("k{n}"), "{}").await.unwrap();
        let (status, answer) = running.sync("index", Value::Null).await.unwrap();
        assert_eq!(status, 200, "{answer}");
        let streams = answer["streams"].as_array().unwrap();
        assert_eq!(streams.len(), 1);
        assert_eq!(streams[0]["head"], n.to_string());
        assert_eq!(streams[0]["topic"], ITEMS);
    }
    running.stop().await;
}

#[tokio::test]
async fn waiting_calls_share_a_tick() {
    let world = World::new().await.unwrap();
    let by_hand = Running::by_hand(world.relay(Bus::none()).unwrap());
    assert_eq!(by_hand.relay.turn().await.unwrap(), Turn::Idle);
    let calls = (0..50).map(|n| {
        let by_hand = &by_hand;
        async move { by_hand.sync(&format!("c{n}"), Value::Null).await.unwrap().0 }
    });
    let mut calls = std::pin::pin!(futures::future::join_all(calls));
    assert!(futures::poll!(calls.as_mut()).is_pending(), "answered without a tick");
    assert_eq!(by_hand.relay.turn().await.unwrap(), Turn::Idle);
    assert!(calls.await.iter().all(|status| *status == 200));
}

/// Until an answer is there, ticks now and then.
async fn ticking<T>(by_hand: &Running, answer: impl Future<Output = T>) -> T {
    let ticking = async {
        loop {
            by_hand.relay.turn().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! { answer = answer => answer, () = ticking => unreachable!("it never ends") }
}

#[tokio::test]
async fn a_call_that_comes_during_a_tick_is_answered_by_the_next_one() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let by_hand = Running::by_hand(world.relay(Bus::none()).unwrap());
    by_hand.relay.turn().await.unwrap();
    put(&client, "a", "{}").await.unwrap();

    let holder = world.client().await.unwrap();
    holder.batch_execute("begin; select from outbox.tick for update").await.unwrap();
    let mut call = std::pin::pin!(by_hand.sync("index", Value::Null));
    let meanwhile = async {
        world.blocked("relay tick").await;
        put(&client, "b", "{}").await.unwrap();
        assert!(futures::poll!(call.as_mut()).is_pending());
        holder.batch_execute("rollback").await.unwrap();
    };
    let (turn, ()) = futures::join!(by_hand.relay.turn(), meanwhile);
    assert_eq!(turn.unwrap(), Turn::Sealed(1));
    let (status, answer) = ticking(&by_hand, call).await.unwrap();
    assert_eq!((status.as_u16(), &answer["streams"][0]["head"]), (200, &json!("2")));
}

#[tokio::test]
async fn the_heads_of_a_snapshot_are_of_a_tick_that_began_after_its_rows_were_read() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let by_hand = Running::by_hand(world.relay(Bus::none()).unwrap());
    by_hand.relay.turn().await.unwrap();

    // The page waits for the table; ticks pass meanwhile, and what it finds then is newer.
    client.batch_execute("begin; lock table outbox.current").await.unwrap();
    put(&client, "a", "{}").await.unwrap();
    let release = async {
        world.blocked("relay").await;
        client.batch_execute("commit").await.unwrap();
    };
    let uri = format!("/snapshot/{ITEMS}");
    let call = futures::future::join(by_hand.get(&uri), release);
    let (answer, ()) = ticking(&by_hand, call).await;
    let (status, page) = answer.unwrap();
    assert_eq!((status.as_u16(), &page["rows"][0]["key"]), (200, &json!("a")));
    assert_eq!(page["heads"][0]["pn"], "1");
}

#[tokio::test]
async fn sync_tells_whether_copy_and_source_share_their_past() {
    let (_world, client, running) = world().await;
    put(&client, "a", "{}").await.unwrap();
    put(&client, "b", "{}").await.unwrap();
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let (term, root) = (answer["streams"][0]["term"].clone(), answer["root"].clone());
    let other = json!("22222222-2222-4222-8222-222222222222");
    for (pn, its, state) in [
        (0, &root, "ok"),
        (1, &term, "ok"),
        (2, &term, "ok"),
        (2, &other, "diverged"),
        (3, &term, "diverged"),
        (0, &other, "diverged"),
    ] {
        let (_, answer) = running.sync("index", position(pn, its)).await.unwrap();
        assert_eq!(answer["streams"][0]["state"], state, "{pn} {its}");
    }
    // A stream that the source lacks, untouched and not.
    for (pn, its, state) in [(0, &root, "ok"), (1, &root, "diverged"), (0, &other, "diverged")] {
        let unknown = json!([
            { "stream": items_stream(), "pn": "2", "term": term },
            { "stream": "shop.items.bulk", "pn": pn.to_string(), "term": its },
        ]);
        let (_, answer) = running.sync("index", unknown).await.unwrap();
        let streams = answer["streams"].as_array().unwrap();
        let bulk = streams.iter().find(|s| s["stream"] == "shop.items.bulk").unwrap();
        assert_eq!(bulk["state"], state, "{pn} {its}");
        assert_eq!(streams.len(), 2);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_position_below_the_floor_is_behind_and_the_feed_is_gone() {
    let (_world, client, running) = world().await;
    for n in 0..3 {
        put(&client, &format!("k{n}"), "{}").await.unwrap();
    }
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let (term, root) = (answer["streams"][0]["term"].clone(), answer["root"].clone());
    client.batch_execute("update outbox.stream set floor = 2, floor_term = term").await.unwrap();
    let (_, answer) = running.sync("index", position(1, &term)).await.unwrap();
    assert_eq!(answer["streams"][0]["state"], "behind-floor");
    assert_eq!(answer["streams"][0]["floor"], "2");
    let (status, problem) = feed(&running, 0, &root, 10).await;
    assert_eq!((status.as_u16(), &problem["code"]), (410, &json!("below-floor")));
    let (status, answer) = feed(&running, 2, &term, 10).await;
    assert_eq!((status.as_u16(), numbered(&answer).unwrap()[0].pn), (200, 3));
    running.stop().await;
}

#[tokio::test]
async fn a_consumer_is_registered_and_its_positions_are_set_never_maximised() {
    let (_world, client, running) = world().await;
    for n in 0..3 {
        put(&client, &format!("k{n}"), "{}").await.unwrap();
    }
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let term = answer["streams"][0]["term"].clone();
    let held = stored(&client).await;
    let [(None, Some(hold))] = held[..] else { panic!("{held:?}") };
    assert!(hold >= 1);
    // A position is stored at once when it is the first, and then at most once a second.
    for expected in [3_i64, 1] {
        testkit::eventually("the position is stored", || async {
            running.sync("index", position(expected, &term)).await?;
            Ok(stored(&client).await == [(Some(expected), None)])
        })
        .await;
    }
    running.sync("index", position(2, &term)).await.unwrap();
    assert_eq!(stored(&client).await, [(Some(1), None)]);
    testkit::eventually("an unreported stream counts as 0", || async {
        running.sync("index", json!([])).await?;
        Ok(stored(&client).await == [(None, None)])
    })
    .await;
    running.stop().await;
}

/// Nothing changes in what the consumer says, so only the relay can notice.
#[tokio::test]
async fn what_the_source_forgot_of_a_consumer_is_stored_again_at_once() {
    let (_world, client, running) = world().await;
    for n in 0..3 {
        put(&client, &format!("k{n}"), "{}").await.unwrap();
    }
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let term = answer["streams"][0]["term"].clone();
    testkit::eventually("the position is stored", || async {
        running.sync("index", position(3, &term)).await?;
        Ok(stored(&client).await == [(Some(3), None)])
    })
    .await;

    client.batch_execute("delete from outbox.consumer").await.unwrap();
    running.sync("index", position(3, &term)).await.unwrap();
    assert_eq!(stored(&client).await, [(Some(3), None)], "after an operator removed it");

    let restored = "update outbox.consumer_position set pn = 1;
                    update outbox.tick set term = gen_random_uuid()";
    client.batch_execute(restored).await.unwrap();
    testkit::eventually("the relay leads again and answers", || async {
        Ok(running.sync("index", position(3, &term)).await?.0 == 200)
    })
    .await;
    assert_eq!(stored(&client).await, [(Some(3), None)], "after a restore");
    running.stop().await;
}

#[tokio::test]
async fn a_name_belongs_to_its_first_identity() {
    let (_world, client, running) = world().await;
    let identity = |id: u32| format!("00000000-0000-4000-8000-{id:012}");
    let call = |id: u32| {
        json!({ "consumer": "index", "identity": identity(id), "topics": [ITEMS],
                "positions": [] })
    };
    for _ in 0..2 {
        let (status, _) = running.post("/sources/shop/sync", call(1)).await.unwrap();
        assert_eq!(status, 200);
        let (status, problem) = running.post("/sources/shop/sync", call(2)).await.unwrap();
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("other-identity")));
    }
    client.batch_execute("delete from outbox.consumer").await.unwrap();
    let (status, _) = running.post("/sources/shop/sync", call(2)).await.unwrap();
    assert_eq!(status, 200);
    running.stop().await;
}

#[tokio::test]
async fn the_feed_connects_from_any_position_and_keeps_to_the_limit() {
    let (_world, client, running) = world().await;
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let root = answer["root"].clone();
    // Not yet a stream: nothing follows, and that is no fault.
    let (status, answer) = feed(&running, 0, &root, 10).await;
    assert_eq!((status.as_u16(), &answer["head"]), (200, &json!("0")));
    let many = "select outbox.append_many('shop.items',
                  array(select 'k' || n from generate_series(1, 1250) n),
                  array(select '{}'::bytea from generate_series(1, 1250)),
                  array(select gen_random_uuid() from generate_series(1, 1250)))";
    client.batch_execute(many).await.unwrap();
    put(&client, "last", "{}").await.unwrap();
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let term = answer["streams"][0]["term"].clone();
    assert_eq!(answer["streams"][0]["head"], "1251");

    let (_, whole) = feed(&running, 0, &root, 5000).await;
    let whole = numbered(&whole).unwrap();
    assert_eq!(whole.len(), 1251);
    for (after, limit) in [(0, 1), (1, 7), (99, 150), (999, 2), (1000, 3), (1249, 9), (1250, 9)] {
        let its = if after == 0 { &root } else { &term };
        let (status, answer) = feed(&running, after, its, limit).await;
        assert_eq!(status, 200, "{answer}");
        let part = numbered(&answer).unwrap();
        let from = usize::try_from(after).unwrap();
        let to = (from + usize::try_from(limit).unwrap()).min(1251);
        assert_eq!(part, whole[from..to], "{after} {limit}");
        let data = &answer["envelopes"][0]["data"];
        assert_eq!((&data["prev"], &data["first"]), (its, &json!((after + 1).to_string())));
    }
    let (status, problem) = feed(&running, 7, &root, 9).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("diverged")));
    running.stop().await;
}

#[tokio::test]
async fn answers_end_at_a_mebibyte_or_with_one_row() {
    let (_world, client, running) = world().await;
    let large = |n: usize| format!("\"{}\"", "x".repeat(n));
    put(&client, "a", &large(2_000_000)).await.unwrap();
    for n in 0..4 {
        put(&client, &format!("b{n}"), &large(400_000)).await.unwrap();
    }
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let (root, term) = (answer["root"].clone(), answer["streams"][0]["term"].clone());
    let (_, answer) = feed(&running, 0, &root, 100).await;
    assert_eq!(numbered(&answer).unwrap().len(), 1);
    let (_, answer) = feed(&running, 1, &term, 100).await;
    assert_eq!(numbered(&answer).unwrap().len(), 2);
    let mut after = String::new();
    let mut pages = Vec::new();
    loop {
        let (_, page) = running.get(&format!("/snapshot/{ITEMS}?{after}")).await.unwrap();
        pages.push(page["rows"].as_array().unwrap().len());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("after={next}");
    }
    assert_eq!(pages, [1, 2, 2]);
    running.stop().await;
}

#[tokio::test]
async fn a_segment_whose_rows_were_deleted_is_never_numbered() {
    let (_world, client, running) = world().await;
    let three = "select outbox.append('shop.items', k, 'upsert', '{}')
                   from unnest(array['k0', 'k1', 'k2']) k";
    client.batch_execute(three).await.unwrap();
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let (term, root) = (answer["streams"][0]["term"].clone(), answer["root"].clone());
    assert_eq!(feed(&running, 0, &root, 10).await.0, 200);
    client.batch_execute("delete from outbox.change where key = 'k1'").await.unwrap();
    for (after, its) in [(0, &root), (1, &term), (2, &term)] {
        let (status, problem) = feed(&running, after, its, 10).await;
        assert_eq!((status.as_u16(), &problem["code"]), (500, &json!("damaged")));
    }
    running.stop().await;
}

/// An empty answer below the head would be taken for "not yet", for ever.
#[tokio::test]
async fn numbers_that_no_segment_holds_are_an_alarm_and_never_an_empty_answer() {
    let (_world, client, running) = world().await;
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let root = answer["root"].clone();
    for key in ["a", "b", "c"] {
        put(&client, key, "{}").await.unwrap();
        running.sync("index", Value::Null).await.unwrap();
    }
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let term = answer["streams"][0]["term"].clone();
    for (gone, after, its, left) in [(3_i64, 2, &term, 2), (1, 0, &root, 0)] {
        client.execute("delete from outbox.segment where first = $1", &[&gone]).await.unwrap();
        let (status, problem) = feed(&running, after, its, 10).await;
        assert_eq!((status.as_u16(), &problem["code"]), (500, &json!("damaged")), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.ends_with(&format!("no segment holds number {gone}")), "{detail}");
        // What lies before the gap is whole.
        let (status, answer) = feed(&running, 0, &root, 10).await;
        let read = numbered(&answer).map_or(0, |changes| changes.len());
        assert_eq!((status.is_success(), read), (left > 0, left));
    }
    running.stop().await;
}

#[tokio::test]
async fn the_snapshot_shows_every_entity_once_with_heads_that_include_it() {
    let (_world, client, running) = world().await;
    for n in 0..25 {
        put(&client, &format!("k{n:02}"), &format!("{{\"n\": {n}}}")).await.unwrap();
    }
    remove(&client, "k07").await.unwrap();
    let mut rows = Vec::new();
    let mut query = "limit=10".to_owned();
    loop {
        let (status, page) = running.get(&format!("/snapshot/{ITEMS}?{query}")).await.unwrap();
        assert_eq!(status, 200, "{page}");
        assert_eq!(page["heads"][0]["pn"], "26");
        rows.extend(page["rows"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("limit=10&after={next}");
    }
    assert_eq!(rows.len(), 25);
    assert_eq!(rows[7], json!({ "key": "k07", "version": "2", "deleted": true }));
    assert_eq!(rows[8]["payload"], json!({ "n": 8 }));

    let (_, one) = running.get(&format!("/snapshot/{ITEMS}?key=k08")).await.unwrap();
    assert_eq!(one["rows"].as_array().unwrap().len(), 1);
    put(&client, "k08", "{}").await.unwrap();
    let (_, one) = running.get(&format!("/snapshot/{ITEMS}?key=k08")).await.unwrap();
    assert_eq!((&one["rows"][0]["version"], &one["heads"][0]["pn"]), (&json!("2"), &json!("27")));
    let (_, none) = running.get(&format!("/snapshot/{ITEMS}?key=never")).await.unwrap();
    assert_eq!(none["rows"], json!([]));
    running.stop().await;
}

#[tokio::test]
async fn requests_that_cannot_be_understood_are_told_why() {
    let (_world, _client, running) = world().await;
    let root = "00000000-0000-4000-8000-000000000000";
    for (uri, status, code) in [
        ("/streams/shop.items.normal?after=-1&term=x".to_owned(), 400, "bad-request"),
        ("/streams/shop.items.normal?after=0".to_owned(), 400, "bad-request"),
        (format!("/streams/SHOP?after=0&term={root}"), 400, "bad-request"),
        (format!("/streams/mall.items.normal?after=0&term={root}"), 404, "unknown-source"),
        ("/snapshot/shop".to_owned(), 400, "bad-request"),
        ("/snapshot/mall.items".to_owned(), 404, "unknown-source"),
        ("/snapshot/shop.items?limit=many".to_owned(), 400, "bad-request"),
    ] {
        let (answered, problem) = running.get(&uri).await.unwrap();
        assert_eq!((answered.as_u16(), &problem["code"]), (status, &json!(code)), "{uri}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    let call = |consumer: &str, topics: Value, positions: Value| {
        let identity = root;
        json!({ "consumer": consumer, "identity": identity, "topics": topics,
                "positions": positions })
    };
    let twice = json!([
        { "stream": "shop.items.normal", "pn": "1", "term": root },
        { "stream": "shop.items.normal", "pn": "2", "term": root },
    ]);
    let stray = json!([{ "stream": "shop.prices.critical", "pn": "1", "term": root }]);
    for (source, body, status) in [
        ("shop", json!({}), 400),
        ("shop", call("", json!([ITEMS]), Value::Null), 400),
        ("shop", call("c", json!([]), Value::Null), 400),
        ("shop", call("c", json!(["mall.items"]), Value::Null), 400),
        ("shop", call("c", json!([ITEMS, ITEMS]), Value::Null), 400),
        ("shop", call("c", json!([ITEMS]), twice), 400),
        ("shop", call("c", json!([ITEMS]), stray), 400),
        ("mall", call("c", json!([ITEMS]), Value::Null), 404),
    ] {
        let uri = format!("/sources/{source}/sync");
        let (answered, problem) = running.post(&uri, body.clone()).await.unwrap();
        assert_eq!(answered.as_u16(), status, "{body} {problem}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_relay_that_does_not_lead_answers_nothing() {
    let (world, client, running) = world().await;
    put(&client, "a", "{}").await.unwrap();
    let second = Running::start(world.relay(Bus::none()).unwrap());
    testkit::eventually("the second one stands by", || async {
        Ok(second.relay.status().await["state"] == "standby")
    })
    .await;
    let root = "00000000-0000-4000-8000-000000000000";
    let (status, problem) = second.sync("index", Value::Null).await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("not-primary")));
    let (status, _) = feed(&second, 0, &json!(root), 1).await;
    assert_eq!(status, 503);
    let (status, _) = second.get(&format!("/snapshot/{ITEMS}")).await.unwrap();
    assert_eq!(status, 503);
    running.stop().await;
    second.leading().await;
    let (status, _) = second.sync("index", Value::Null).await.unwrap();
    assert_eq!(status, 200);
    second.stop().await;
}

#[tokio::test]
async fn a_frozen_database_holds_up_nobody_for_ever() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    put(&client, "a", "{}").await.unwrap();
    let proxy = Proxy::before(&world.database).await.unwrap();
    let relay = relay_at(&proxy.url(), &Config::default(), Bus::none()).unwrap();
    let running = Running::start(relay);
    running.leading().await;
    let (_, answer) = running.sync("index", Value::Null).await.unwrap();
    let root = answer["root"].clone();
    assert_eq!(feed(&running, 0, &root, 1).await.0, 200);

    proxy.turn(Wire::Frozen);
    let asking = futures::future::join(feed(&running, 0, &root, 1), running.relay.status());
    let limit = Duration::from_secs(8);
    let ((status, _), _) = tokio::time::timeout(limit, asking).await.expect("an answer");
    assert_eq!(status, 503);
    proxy.turn(Wire::Open);
    running.leading().await;
    assert_eq!(feed(&running, 0, &root, 1).await.0, 200);
    running.stop().await;
}

#[tokio::test]
async fn a_feed_costs_two_round_trips_however_many_ticks_it_covers() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let proxy = Proxy::before(&world.database).await.unwrap();
    let by_hand =
        Running::by_hand(relay_at(&proxy.url(), &Config::default(), Bus::none()).unwrap());
    by_hand.relay.turn().await.unwrap();
    for n in 0..64 {
        put(&client, &format!("k{n}"), "{}").await.unwrap();
        assert_eq!(by_hand.relay.turn().await.unwrap(), Turn::Sealed(1));
    }
    let root = by_hand.relay.status().await["root"].clone();
    // Statements are prepared by their first use.
    assert_eq!(feed(&by_hand, 0, &root, 1).await.0, 200);
    let before = proxy.requests();
    let (_, answer) = feed(&by_hand, 0, &root, 64).await;
    assert_eq!(numbered(&answer).unwrap().len(), 64);
    assert_eq!(proxy.requests() - before, 2);
}

/// All segments of a tick have the same snapshots; read by these alone, each would cost as much as
/// the whole tick.
#[tokio::test]
async fn a_segment_of_a_large_tick_is_read_at_its_own_cost() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let backlog = "do $$ begin for batch in 1..100 loop
                     insert into outbox.change
                       (slot, topic, lane, key, version, op, event, schema)
                     select 0, 'shop.items', 'normal', 'k' || n, batch, 'delete',
                            gen_random_uuid(), '1' from generate_series(1, 100) n;
                     commit;
                   end loop; end $$";
    client.batch_execute(backlog).await.unwrap();
    assert_eq!(world.relay(Bus::none()).unwrap().turn().await.unwrap(), Turn::Sealed(10_000));
    let explained = format!(
        "set enable_seqscan = off; set jit = off;
         prepare again as {}",
        include_str!("../../queries/changes.sql"),
    );
    client.batch_execute(&explained).await.unwrap();
    let explain = "explain (analyze, format json)
                     execute again ('shop.items.normal', 9000, 1000, 1000000000)";
    let plan: Value = client.query_one(explain, &[]).await.unwrap().get(0);
    let scanned = scanned(&plan);
    assert!((1000.0..1500.0).contains(&scanned), "{scanned} rows scanned: {plan:#}");
}

/// A seal is planned once, for whatever it will find.
#[tokio::test]
async fn a_seal_looks_at_what_is_new_alone() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let backlog = "insert into outbox.change
                     (slot, topic, lane, key, version, op, event, schema)
                   select 0, 'shop.items', 'normal', 'k' || n, 1, 'delete', gen_random_uuid(), '1'
                     from generate_series(1, 20000) n";
    client.batch_execute(backlog).await.unwrap();
    let relay = world.relay(Bus::none()).unwrap();
    assert_eq!(relay.turn().await.unwrap(), Turn::Sealed(20_000));
    for n in 0..10 {
        put(&client, &format!("new{n}"), "{}").await.unwrap();
    }
    let sql = "select n, term::text as term, s1::text as s1 from outbox.tick";
    let tick = client.query_one(sql, &[]).await.unwrap();
    let (n, term, s1): (i64, &str, &str) = (tick.get("n"), tick.get("term"), tick.get("s1"));
    let prepared = format!(
        "analyze outbox.change; set enable_seqscan = off; set jit = off;
         set plan_cache_mode = force_generic_plan; prepare seal as {SEAL}",
    );
    client.batch_execute(&prepared).await.unwrap();
    let explain = format!(
        "explain (analyze, format json) execute seal ({n}, '{term}', '{s1}', 100, 1000000)"
    );
    let plan: Value = client.query_one(&explain, &[]).await.unwrap().get(0);
    let scanned = scanned(&plan);
    assert!((10.0..100.0).contains(&scanned), "{scanned} rows scanned: {plan:#}");
}

/// How many rows of changes a plan looked at.
fn scanned(plan: &Value) -> f64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or_default();
    let relation = plan["Relation Name"].as_str().unwrap_or_default();
    let own = if relation.starts_with("change") {
        (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops")
    } else {
        0.0
    };
    let below: f64 = match plan {
        Value::Array(parts) => parts.iter().map(scanned).sum(),
        Value::Object(parts) => parts.values().map(scanned).sum(),
        _ => 0.0,
    };
    own + below
}
