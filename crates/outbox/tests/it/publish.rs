//! What reaches the bus: envelopes that connect, in order, repeated until accepted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bus::{Bus, Delivery, Fault, Handler, Memory, Verdict};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use contracts::{Envelope, Topic};
use outbox::{Config, Turn};

use crate::world::{PRICES, Running, World, items, put, remove};

const SAVE_MARKS: &str = include_str!("../../queries/save_marks.sql");

/// Keeps every envelope of the items as it came.
#[derive(Default)]
struct Inbox(Mutex<Vec<Bytes>>);

impl Handler for Inbox {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Verdict> {
        self.0.lock().unwrap().push(delivery.body);
        async { Verdict::Done }.boxed()
    }
}

impl Inbox {
    fn join(hub: &Memory) -> (Arc<Self>, Bus) {
        let inbox = Arc::new(Self::default());
        let bus = Bus::memory(hub);
        bus.subscribe(&items(), Arc::clone(&inbox) as Arc<dyn Handler>);
        (inbox, bus)
    }

    fn ranges(&self) -> Vec<(i64, i64)> {
        let envelopes = self.0.lock().unwrap();
        let headers = envelopes.iter().map(|bytes| Envelope::parse(bytes).unwrap().header);
        headers.map(|header| (header.first.get(), header.last.get())).collect()
    }

    async fn reaches(&self, last: i64) {
        testkit::eventually(&format!("number {last} is published"), || async {
            Ok(self.ranges().last().is_some_and(|range| range.1 >= last))
        })
        .await;
    }
}

#[tokio::test]
async fn changes_travel_byte_for_byte_in_envelopes_that_connect() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    put(&client, "a", "{\"n\" : 1.50}").await.unwrap();
    remove(&client, "a").await.unwrap();
    let hub = Memory::new();
    let (inbox, _bus) = Inbox::join(&hub);
    let running = Running::start(world.relay(Bus::memory(&hub)).unwrap());
    inbox.reaches(2).await;
    put(&client, "b", "{}").await.unwrap();
    inbox.reaches(3).await;
    running.stop().await;

    let envelopes = inbox.0.lock().unwrap().clone();
    let first = Envelope::parse(&envelopes[0]).unwrap();
    let changes: Vec<_> = first.changes.into_iter().map(Result::unwrap).collect();
    assert_eq!(changes[0].payload.as_ref().unwrap().get(), "{\"n\" : 1.50}");
    assert_eq!(changes[0].version.get(), 1);
    assert!(changes[1].payload.is_none());
    assert_eq!(changes[1].schema, "1");
    let second = Envelope::parse(&envelopes[1]).unwrap();
    assert_eq!(second.header.previous, first.header.term);
    assert_eq!((second.header.first.get(), second.header.head.get()), (3, 3));
    let sql = "select pn from outbox.publish_mark";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>("pn"), 3);
}

#[tokio::test]
async fn a_backlog_travels_in_envelopes_of_a_hundred_and_a_large_change_alone() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let many = "select outbox.append_many('shop.items',
                  array(select 'k' || n from generate_series(1, 250) n),
                  array(select '{}'::bytea from generate_series(1, 250)),
                  array(select gen_random_uuid() from generate_series(1, 250)))";
    client.batch_execute(many).await.unwrap();
    let large = format!("\"{}\"", "x".repeat(100_000));
    put(&client, "large", &large).await.unwrap();
    put(&client, "small", "{}").await.unwrap();
    let hub = Memory::new();
    let (inbox, _bus) = Inbox::join(&hub);
    let running = Running::start(world.relay(Bus::memory(&hub)).unwrap());
    inbox.reaches(252).await;
    assert_eq!(inbox.ranges(), [(1, 100), (101, 200), (201, 250), (251, 251), (252, 252)]);
    running.stop().await;
}

#[tokio::test]
async fn an_unknown_outcome_is_repeated_with_the_identical_envelope() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let hub = Memory::new();
    hub.script([Fault::AnswerLost, Fault::Refuse, Fault::Pass]);
    let (inbox, _bus) = Inbox::join(&hub);
    let running = Running::start(world.relay(Bus::memory(&hub)).unwrap());
    running.leading().await;
    put(&client, "a", "{}").await.unwrap();
    testkit::eventually("it was repeated", || async { Ok(inbox.ranges().len() == 2) }).await;
    let envelopes = inbox.0.lock().unwrap().clone();
    assert_eq!(envelopes[0], envelopes[1]);
    put(&client, "b", "{}").await.unwrap();
    inbox.reaches(2).await;
    assert_eq!(inbox.ranges(), [(1, 1), (1, 1), (2, 2)]);
    running.stop().await;
}

/// Never answers, and counts how often it was asked.
#[derive(Default)]
struct Silent(AtomicUsize);

impl Handler for Silent {
    fn deliver(&self, _delivery: Delivery) -> BoxFuture<'_, Verdict> {
        self.0.fetch_add(1, Ordering::Relaxed);
        futures::future::pending().boxed()
    }
}

#[tokio::test]
async fn a_publish_that_is_never_answered_is_repeated_and_holds_up_no_other_stream() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let hub = Memory::new();
    let (inbox, bus) = Inbox::join(&hub);
    let silent = Arc::new(Silent::default());
    bus.subscribe(&Topic::parse(PRICES).unwrap(), Arc::clone(&silent) as Arc<dyn Handler>);
    let config = Config { publish_ms_max: 100, ..Config::default() };
    let running = Running::start(world.relay_with(&config, Bus::memory(&hub)).unwrap());
    let price = "select outbox.append($1, 'a', 'upsert', '{}')";
    client.query_one(price, &[&PRICES]).await.unwrap();
    testkit::eventually("the price is published again", || async {
        Ok(silent.0.load(Ordering::Relaxed) > 1)
    })
    .await;
    for n in 1..=3 {
        put(&client, &format!("k{n}"), "{}").await.unwrap();
        inbox.reaches(n).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn a_successor_publishes_again_from_the_saved_mark() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    for n in 0..3 {
        put(&client, &format!("k{n}"), "{}").await.unwrap();
    }
    let hub = Memory::new();
    let (inbox, _bus) = Inbox::join(&hub);
    let running = Running::start(world.relay(Bus::memory(&hub)).unwrap());
    inbox.reaches(3).await;
    running.stop().await;
    client.batch_execute("update outbox.publish_mark set pn = 1").await.unwrap();
    let successor = Running::start(world.relay(Bus::memory(&hub)).unwrap());
    testkit::eventually("it publishes again", || async { Ok(inbox.ranges().contains(&(2, 3))) })
        .await;
    successor.stop().await;
}

#[tokio::test]
async fn what_retention_took_is_not_waited_for() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let relay = world.relay(Bus::none()).unwrap();
    for n in 0..3 {
        relay.turn().await.unwrap();
        put(&client, &format!("k{n}"), "{}").await.unwrap();
    }
    assert_eq!(relay.turn().await.unwrap(), Turn::Sealed(1));
    drop(relay);
    let truncate = "update outbox.stream set floor = 2, floor_term = term;
                    delete from outbox.segment where last <= 2;
                    delete from outbox.change where key <> 'k2'";
    client.batch_execute(truncate).await.unwrap();
    let hub = Memory::new();
    let (inbox, _bus) = Inbox::join(&hub);
    let running = Running::start(world.relay(Bus::memory(&hub)).unwrap());
    inbox.reaches(3).await;
    assert_eq!(inbox.ranges(), [(3, 3)]);
    running.stop().await;
}

#[tokio::test]
async fn a_mark_beyond_the_head_withholds_nothing() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    put(&client, "a", "{}").await.unwrap();
    let relay = world.relay(Bus::none()).unwrap();
    assert_eq!(relay.turn().await.unwrap(), Turn::Sealed(1));
    drop(relay);
    let mark = "insert into outbox.publish_mark values ('shop.items.normal', 99)";
    client.batch_execute(mark).await.unwrap();
    let hub = Memory::new();
    let (inbox, _bus) = Inbox::join(&hub);
    let running = Running::start(world.relay(Bus::memory(&hub)).unwrap());
    running.leading().await;
    put(&client, "b", "{}").await.unwrap();
    inbox.reaches(2).await;
    running.stop().await;
}

#[tokio::test]
async fn marks_are_saved_lazily_and_not_by_a_relay_that_was_fenced() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let sql = "update outbox.tick set term = gen_random_uuid() returning term";
    let former: uuid::Uuid = client.query_one(sql, &[]).await.unwrap().get("term");
    let save = async |term: uuid::Uuid, mark: i64| {
        client
            .execute(SAVE_MARKS, &[&["shop.items.normal"].as_slice(), &[mark].as_slice(), &term])
            .await
            .unwrap()
    };
    let durable = async || -> String {
        client.query_one("show synchronous_commit", &[]).await.unwrap().get(0)
    };
    client.batch_execute("begin").await.unwrap();
    assert_eq!(save(former, 5).await, 1);
    assert_eq!(durable().await, "off");
    client.batch_execute("commit").await.unwrap();
    assert_eq!(durable().await, "on");
    let term: uuid::Uuid = client.query_one(sql, &[]).await.unwrap().get("term");
    assert_eq!(save(former, 4).await, 0);
    assert_eq!(save(term, 7).await, 1);
    let sql = "select pn from outbox.publish_mark";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>("pn"), 7);
}

#[tokio::test]
async fn without_a_broker_nothing_is_published_and_nothing_waits() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    put(&client, "a", "{}").await.unwrap();
    let running = world.running().await.unwrap();
    let status = running.relay.status().await;
    assert_eq!(status["unpublished"], 0);
    assert_eq!(status["streams"][0]["head"], "1");
    running.stop().await;
    assert!(client.query("select from outbox.publish_mark", &[]).await.unwrap().is_empty());
}

/// Numbers of another past may mean other changes, and a relay that led before still has some.
#[tokio::test]
async fn what_was_sealed_before_a_restore_is_not_published_after_it() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let hub = Memory::new();
    let (inbox, _bus) = Inbox::join(&hub);
    let relay = world.relay(Bus::memory(&hub)).unwrap();
    put(&client, "old", "{}").await.unwrap();
    assert_eq!(relay.turn().await.unwrap(), Turn::Sealed(1));

    let restore = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and application_name = 'relay tick';
                   truncate outbox.change;
                   delete from outbox.segment;
                   delete from outbox.stream";
    client.batch_execute(restore).await.unwrap();
    put(&client, "new", "{}").await.unwrap();
    let other = world.relay(Bus::none()).unwrap();
    testkit::eventually("another relay seals", || async {
        Ok(other.turn().await? == Turn::Sealed(1))
    })
    .await;
    drop(other);

    let running = Running::start(relay);
    inbox.reaches(1).await;
    running.stop().await;
    let envelopes = inbox.0.lock().unwrap().clone();
    let envelope = Envelope::parse(&envelopes[0]).unwrap();
    assert_eq!(envelope.changes[0].as_ref().unwrap().key.as_str(), "new");
}
