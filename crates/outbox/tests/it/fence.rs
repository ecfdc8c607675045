//! Who may number changes, and how a relay learns that it may not any more.

use std::collections::HashSet;
use std::time::Duration;

use tokio_postgres::Client;

use bus::Bus;
use outbox::{Config, RelayError, Turn};

use crate::proxy::Proxy;
use crate::world::{ITEMS, PRICES, SEAL, World, put, relay_at};

#[tokio::test]
async fn one_relay_leads_and_the_other_follows_when_it_is_gone() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let first = world.relay(Bus::none()).unwrap();
    let second = world.relay(Bus::none()).unwrap();
    assert_eq!(first.turn().await.unwrap(), Turn::Idle);
    assert_eq!(second.turn().await.unwrap(), Turn::Standby);
    put(&client, "a", "{}").await.unwrap();
    assert_eq!(first.turn().await.unwrap(), Turn::Sealed(1));
    assert_eq!(first.turn().await.unwrap(), Turn::Idle);
    put(&client, "b", "{}").await.unwrap();
    drop(first);
    testkit::eventually("the second one takes over", || async {
        Ok(second.turn().await? == Turn::Sealed(1))
    })
    .await;
}

#[tokio::test]
async fn a_relay_whose_term_was_replaced_numbers_nothing_and_says_so() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let relay = world.relay(Bus::none()).unwrap();
    assert_eq!(relay.turn().await.unwrap(), Turn::Idle);
    let rival = "update outbox.tick set term = gen_random_uuid()";
    for fenced_with_changes in [false, true] {
        client.batch_execute(rival).await.unwrap();
        if fenced_with_changes {
            put(&client, "a", "{}").await.unwrap();
        }
        assert_eq!(relay.turn().await.unwrap(), Turn::Fenced);
        let sql = "select count(*) as n from outbox.segment";
        assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>("n"), 0);
        // A new session leads again, under a term of its own.
        let next = if fenced_with_changes { Turn::Sealed(1) } else { Turn::Idle };
        testkit::eventually("it leads again", || async { Ok(relay.turn().await? == next) }).await;
    }
}

/// A lease that were merely read would still be this relay's: the rival commits only after the seal
/// has taken its snapshot.
#[tokio::test]
async fn a_rival_that_seals_during_a_seal_fences_it() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let relay = world.relay(Bus::none()).unwrap();
    assert_eq!(relay.turn().await.unwrap(), Turn::Idle);
    put(&client, "a", "{}").await.unwrap();
    put(&client, "b", "{}").await.unwrap();

    let rival = world.client().await.unwrap();
    let term = uuid::Uuid::new_v4();
    rival.batch_execute("begin").await.unwrap();
    let take_over = "update outbox.tick set term = $1 returning n, s1::text as s1";
    let tick = rival.query_one(take_over, &[&term]).await.unwrap();
    let (n, s1): (i64, String) = (tick.get("n"), tick.get("s1"));
    let seal_and_commit = async {
        world.blocked("relay tick").await;
        let sealed = rival.query_one(SEAL, &[&n, &term, &s1, &0_i64, &0_i64]).await.unwrap();
        assert_eq!(sealed.get::<_, Option<i64>>("n"), Some(n + 1));
        rival.batch_execute("commit").await.unwrap();
    };
    let (turn, ()) = futures::join!(relay.turn(), seal_and_commit);

    assert_eq!(turn.unwrap(), Turn::Fenced);
    let sql = "select first, last, term, (select n from outbox.tick) as n from outbox.segment";
    let segments = client.query(sql, &[]).await.unwrap();
    let [segment] = &segments[..] else { panic!("{} segments", segments.len()) };
    assert_eq!((segment.get::<_, i64>("first"), segment.get::<_, i64>("last")), (1, 2));
    assert_eq!((segment.get::<_, uuid::Uuid>("term"), segment.get::<_, i64>("n")), (term, n + 1));
}

/// Which row versions there are of everything that a relay writes by ticking.
async fn written(client: &Client) -> Vec<(String, String, String)> {
    let each = ["tick", "stream", "segment", "publish_mark"].map(|table| {
        format!("select '{table}' as name, ctid::text as place, xmin::text from outbox.{table}")
    });
    let rows = client.query(&each.join(" union all "), &[]).await.unwrap();
    rows.iter().map(|row| (row.get("name"), row.get("place"), row.get("xmin"))).collect()
}

#[tokio::test]
async fn an_idle_tick_writes_nothing_and_a_seal_is_one_commit_and_one_round_trip() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let proxy = Proxy::before(&world.database).await.unwrap();
    let relay = relay_at(&proxy.url(), &Config::default(), Bus::none()).unwrap();
    assert_eq!(relay.turn().await.unwrap(), Turn::Idle);
    let (before, requests) = (written(&client).await, proxy.requests());
    for _ in 0..5 {
        assert_eq!(relay.turn().await.unwrap(), Turn::Idle);
    }
    assert_eq!(written(&client).await, before);
    assert_eq!(proxy.requests(), requests + 5);

    let many = "select outbox.append_many($1,
                  array(select 'k' || n from generate_series(1, 1500) n),
                  array(select '{}'::bytea from generate_series(1, 1500)),
                  array(select gen_random_uuid() from generate_series(1, 1500)))";
    for topic in [ITEMS, PRICES] {
        client.query_one(many, &[&topic]).await.unwrap();
    }
    assert_eq!(relay.turn().await.unwrap(), Turn::Sealed(3000));
    assert_eq!(proxy.requests(), requests + 6);
    let after = written(&client).await;
    let names: Vec<&str> = after.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["tick", "stream", "stream", "segment", "segment", "segment", "segment"]);
    let commits: HashSet<&String> = after.iter().map(|(.., xmin)| xmin).collect();
    assert_eq!(commits.len(), 1);
}

#[tokio::test]
async fn ids_that_went_back_and_another_cluster_are_refused() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    put(&client, "a", "{}").await.unwrap();
    let ahead = "update outbox.tick set s1 = '4000000000:4000000000:'";
    client.batch_execute(ahead).await.unwrap();
    let relay = world.relay(Bus::none()).unwrap();
    assert!(matches!(relay.turn().await, Err(RelayError::WentBack)));
    let elsewhere = "update outbox.tick set s1 = '3:3:', system_identifier = 1";
    client.batch_execute(elsewhere).await.unwrap();
    assert!(matches!(relay.turn().await, Err(RelayError::OtherSystem)));
    let sql = "select count(*) as n from outbox.segment";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>("n"), 0);
}

#[tokio::test]
async fn a_tick_of_more_than_a_thousand_changes_is_cut_into_segments() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let many = "select outbox.append_many('shop.items',
                  array(select 'k' || n from generate_series(1, 2500) n),
                  array(select '{}'::bytea from generate_series(1, 2500)),
                  array(select gen_random_uuid() from generate_series(1, 2500)))";
    client.batch_execute(many).await.unwrap();
    let relay = world.relay(Bus::none()).unwrap();
    assert_eq!(relay.turn().await.unwrap(), Turn::Sealed(2500));
    let sql = "select first, last, term, previous_term, root
                 from outbox.segment, (select root from outbox.tick) t order by first";
    let segments = client.query(sql, &[]).await.unwrap();
    let numbers: Vec<(i64, i64)> =
        segments.iter().map(|row| (row.get("first"), row.get("last"))).collect();
    assert_eq!(numbers, [(1, 1000), (1001, 2000), (2001, 2500)]);
    let term: uuid::Uuid = segments[0].get("term");
    assert_eq!(
        segments[0].get::<_, uuid::Uuid>("previous_term"),
        segments[0].get::<_, uuid::Uuid>("root")
    );
    assert_eq!(segments[1].get::<_, uuid::Uuid>("previous_term"), term);
}

/// Each tick takes everything that was not sealed, so one that was broken off comes back larger.
#[tokio::test]
async fn a_backlog_that_is_too_large_for_the_limit_is_sealed_all_the_same() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let backlog = "insert into outbox.change
                     (slot, topic, lane, key, version, op, event, schema)
                   select 0, 'shop.items', 'normal', 'k' || n, 1, 'delete', gen_random_uuid(), '1'
                     from generate_series(1, 100000) n";
    client.batch_execute(backlog).await.unwrap();
    let config = Config { tick_ms_max: 5, standby_ms: 20, ..Config::default() };
    let relay = world.relay_with(&config, Bus::none()).unwrap();
    assert!(relay.turn().await.is_err(), "sealed within the limit, so this shows nothing");
    testkit::within(Duration::from_secs(30), "the backlog is sealed", || async {
        Ok(relay.turn().await? == Turn::Sealed(100_000))
    })
    .await;
}
