//! What the broker does to deliveries, and what the copy makes of it.

use std::time::{Duration, Instant};

use bus::{Bus, Fault};
use contracts::{Lane, Stream};
use futures::future::join_all;
use inbox::Config;
use testkit::eventually;

use crate::origin::{item, stream};
use crate::world::World;

const POSITION: &str = "select coalesce(max(pn), -1) from inbox.position";

/// Covers: P11, P26.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_applied_once_however_often_it_is_pushed() -> anyhow::Result<()> {
    let (world, _run) = World::serving("repeated").await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.push(1, 1).await;
    world.until(1, POSITION).await;
    world.push(1, 1).await;
    world.hub.script([Fault::Repeat, Fault::AnswerLost]);
    world.push(1, 1).await;
    let bus = Bus::memory(&world.hub);
    let lost = bus.publish(&stream(Lane::Normal), Lane::Normal, world.origin.envelope(1, 1)).await;
    assert!(lost.is_err());
    assert_eq!(world.number("select applied::bigint from copy.items").await?, 1);
    world.until(4, "select duplicates from inbox.position").await;
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_lost_is_read_from_the_feed() -> anyhow::Result<()> {
    let (world, _run) = World::serving("gap").await?;
    world.origin.silence();
    for key in ["A", "B", "C"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    world.push(3, 3).await;
    world.origin.speak();
    world.at_head().await;
    assert_eq!(world.copied().await?, world.origin.living());
    world.until(1, "select left_to_reader from inbox.position").await;
    world.origin.put("D", Some(&item("tail", 1)));
    world.at_head().await;
    assert_eq!(world.number("select count(*) from inbox.journal where via = 'feed'").await?, 2);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_push_waits_for_the_one_before_it() -> anyhow::Result<()> {
    let (world, _run) = World::serving("early").await?;
    world.origin.put("S", Some(&item("s", 1)));
    world.push(1, 1).await;
    world.until(1, POSITION).await;
    // It waits for a moment only, which a busy machine may miss; one that never waits misses all.
    for first in (2..60).step_by(2) {
        world.origin.silence();
        world.origin.put("A", Some(&item("a", 1)));
        world.origin.put("B", Some(&item("b", 1)));
        futures::join!(world.push(first + 1, first + 1), world.push(first, first));
        if world.number(POSITION).await? == i64::try_from(first + 1)? {
            return world.balanced().await;
        }
        world.origin.speak();
        world.at_head().await;
    }
    panic!("no early push was taken without the feed")
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_in_any_order_leave_the_newest_state() -> anyhow::Result<()> {
    let (world, _run) = World::serving("disorder").await?;
    for round in 0..10 {
        for key in ["A", "B", "C"] {
            let payload = (round % 4 != 3).then(|| item(key, round));
            world.origin.put(key, payload.as_deref());
        }
    }
    world.hub.hold();
    for first in (1..=30).step_by(3) {
        world.push(first, first + 2).await;
    }
    world.hub.release(&[9, 0, 0, 5, 2, 1, 7, 2, 4]).await;
    world.at_head().await;
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
}

/// Covers: B2.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_applies_the_newest_state_of_each_key() -> anyhow::Result<()> {
    let (world, _run) = World::serving("newest").await?;
    for size in 1..=5 {
        world.origin.put("A", Some(&item("a", size)));
    }
    world.origin.put("B", Some(&item("b", 1)));
    world.push(1, 6).await;
    world.until(6, POSITION).await;
    assert_eq!(world.number("select size::bigint from copy.items where key = 'A'").await?, 5);
    assert_eq!(world.number("select applied from inbox.position").await?, 2);
    assert_eq!(world.number("select stale from inbox.position").await?, 4);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_is_buried_and_may_return() -> anyhow::Result<()> {
    let (world, _run) = World::serving("buried").await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.origin.put("A", None);
    world.push(1, 1).await;
    world.push(2, 2).await;
    world.until(2, "select version from inbox.versions where key = 'A' and deleted").await;
    assert_eq!(world.copied().await?, []);
    world.origin.put("A", Some(&item("again", 2)));
    world.push(3, 3).await;
    world.until(3, "select version from inbox.versions where key = 'A' and not deleted").await;
    assert_eq!(world.copied().await?, [("A".to_owned(), 3)]);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_deliveries_of_one_batch_at_once_one_is_applied() -> anyhow::Result<()> {
    let (mut world, _run) = World::serving("at-once").await?;
    let other = world.follow();
    world.ready(&other).await;
    world.origin.silence();
    for number in 0..20 {
        world.origin.put(&format!("K{number}"), Some(&item("k", number % 10)));
    }
    join_all((0..4).map(|_| world.push(1, 20))).await;
    world.until(20, POSITION).await;
    assert_eq!(world.number("select max(applied)::bigint from copy.items").await?, 1);
    assert_eq!(world.number("select count(*) from inbox.journal").await?, 1);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_between_commit_and_answer_loses_and_repeats_nothing()
-> anyhow::Result<()> {
    let (mut world, run) = World::serving("killed").await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.push(1, 1).await;
    world.until(1, POSITION).await;
    run.kill();
    world.origin.put("B", Some(&item("b", 1)));
    let again = world.follow();
    world.push(1, 1).await;
    world.push(1, 2).await;
    world.ready(&again).await;
    world.at_head().await;
    assert_eq!(world.number("select max(applied)::bigint from copy.items").await?, 1);
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_envelope_is_kept_and_left_to_the_reader() -> anyhow::Result<()> {
    let (world, _run) = World::serving("unreadable").await?;
    world.origin.put("A", Some(&item("a", 1)));
    let good = String::from_utf8(world.origin.envelope(1, 1).to_vec())?;
    let bad = [
        "\u{0}no JSON".to_owned(),
        good.replace("syncline.changes.v1", "syncline.changes.v9"),
        good.replace("\"last\":\"1\"", "\"last\":\"7\""),
        good.replace("shop.items.normal", "shop.items.bulk"),
    ];
    for body in &bad {
        world.publish(body.clone().into()).await;
        world.publish(body.clone().into()).await;
    }
    assert_eq!(world.hub.given_up(), 0, "they are answered with success");
    let kept = "select count(*) from inbox.unreadable where times = 2 and body_bytes > 7";
    assert_eq!(world.number(kept).await?, 4);
    world.at_head().await;
    assert_eq!(world.copied().await?, world.origin.living());
    world.until(8, "select coalesce(max(unreadable), 0) from inbox.position").await;
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_answer_of_the_feed_moves_nothing() -> anyhow::Result<()> {
    let (world, _run) = World::serving("garbled").await?;
    let answer = |envelope: &str| format!("{{\"envelopes\":[{envelope}],\"head\":\"1\"}}");
    let bad: [&dyn Fn(&str) -> String; 8] = [
        &|_| "no JSON".to_owned(),
        &|_| "{\"head\":\"1\"}".to_owned(),
        &|_| answer("5"),
        &|_| answer("{\"type\":5}"),
        &|good| answer(&good.replace("syncline.changes.v1", "syncline.changes.v9")),
        &|good| answer(&good.replace("\"last\":\"", "\"last\":\"7")),
        &|good| answer(&good.replace("shop.items.normal", "shop.items.bulk")),
        &|good| answer(&good.replace("\"shop\"", "\"shed\"")),
    ];
    for (number, bad) in (1..).zip(bad) {
        world.origin.silence();
        world.origin.put("A", Some(&item("a", 1)));
        let good = String::from_utf8(world.origin.envelope(number, number).to_vec())?;
        let bad = bad(&good);
        assert_ne!(bad, answer(&good));
        world.origin.garble([bad.clone(), bad]);
        world.origin.speak();
        world.at_head().await;
        let kept = "select coalesce(sum(times), 0)::bigint from inbox.unreadable";
        assert_eq!(world.number(kept).await?, 2 * i64::try_from(number)?);
    }
    let kept = "select count(*) from inbox.unreadable where via = 'feed' and times = 2";
    assert_eq!(world.number(kept).await?, 8);
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_feed_beyond_the_limit_is_given_up_and_asked_for_again()
-> anyhow::Result<()> {
    let (world, _run) = World::serving("endless").await?;
    world.origin.silence();
    world.origin.put("A", Some(&item("a", 1)));
    world.origin.garble([" ".repeat(5 << 20)]);
    world.origin.speak();
    world.at_head().await;
    assert_eq!(world.number("select count(*) from inbox.unreadable").await?, 0);
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_with_too_many_changes_is_kept_and_left_to_the_reader() -> anyhow::Result<()> {
    let (world, _run) = World::serving("crowded").await?;
    world.origin.silence();
    for number in 0..5_001 {
        world.origin.put(&format!("K{number}"), Some(&item("k", 1)));
    }
    world.push(1, 5_001).await;
    assert_eq!(world.hub.given_up(), 0, "it is answered with success");
    let kept = "select count(*) from inbox.unreadable where body_bytes > 500000";
    assert_eq!(world.number(kept).await?, 1);
    world.origin.speak();
    world.at_head().await;
    assert_eq!(world.copied().await?.len(), 5_001);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_source_does_not_name_is_only_asked_for() -> anyhow::Result<()> {
    let mut world = World::new("unheard-of").await?;
    let config = Config { sync_interval_ms: 60_000, ..world.config() };
    let run = world.follow_with(config, Bus::memory(&world.hub));
    world.ready(&run).await;
    let bus = Bus::memory(&world.hub);
    for word in ["critical", "bulk", "gossip"] {
        let stream = Stream::parse(&format!("shop.items.{word}"))?;
        let before = world.origin.syncs();
        bus.publish(&stream, Lane::Normal, "no envelope".into()).await?;
        eventually("the source is asked", async || Ok(world.origin.syncs() > before)).await;
    }
    assert_eq!(world.hub.given_up(), 0, "they are answered with success");
    assert_eq!(world.number("select count(*) from inbox.unreadable").await?, 0);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_holds_the_position_keeps_nobody_from_asking_the_source() -> anyhow::Result<()>
{
    let (world, _run) = World::serving("held").await?;
    let mut client = world.pool.get().await?;
    let batch = client.transaction().await?;
    batch.execute("select from inbox.position for update", &[]).await?;
    world.publish("no envelope".into()).await;
    world.origin.next_sync().await;
    world.origin.next_sync().await;
    batch.rollback().await?;
    world.until(1, "select unreadable from inbox.position").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_batch_locks_its_keys_in_key_order_so_that_lanes_never_cross() -> anyhow::Result<()> {
    let (world, _run) = World::serving("crossing").await?;
    let keys: Vec<_> = (10..30).map(|number| format!("K{number}")).collect();
    for key in &keys {
        world.origin.put(key, Some(&item("first", 1)));
    }
    world.origin.put_in(Lane::Critical, "A", Some(&item("first", 1)));
    world.until(21, "select sum(pn)::bigint from inbox.position").await;
    for lane in [Lane::Normal, Lane::Critical] {
        let mut client = world.pool.get().await?;
        let rival = client.transaction().await?;
        rival.execute("select from inbox.versions where key = 'K25' for update", &[]).await?;
        world.origin.silence();
        for key in keys.iter().rev() {
            world.origin.put_in(lane, key, Some(&item("second", 2)));
        }
        world.origin.speak();
        let free = "select string_agg(key, ' ' order by key) from (
            select key from inbox.versions where key > 'K' for update skip locked) as free";
        eventually("of K29 to K10 those before K25 are locked", async || {
            let free = world.text(free).await?.unwrap_or_default();
            Ok(free == keys[16..].join(" "))
        })
        .await;
        rival.rollback().await?;
        world.until(20, "select count(*) from copy.items where name = 'second'").await;
        world.pool.get().await?.execute("update copy.items set name = 'first'", &[]).await?;
    }
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_that_another_lane_brings_first_takes_the_whole_batch_back() -> anyhow::Result<()>
{
    let (world, _run) = World::serving("overtaken").await?;
    let owner = world.owner().await?;
    owner.batch_execute("begin").await?;
    let rival = "insert into inbox.versions values ('shop.items', 'A', 1, 5, true, null, 0)";
    owner.batch_execute(rival).await?;
    world.origin.put("A", Some(&item("older", 1)));
    let waiting = "select count(*) from pg_locks join pg_stat_activity using (pid) \
                   where datname = current_database() and not granted";
    world.until(1, waiting).await;
    owner.batch_execute("commit").await?;
    world.at_head().await;
    assert_eq!(world.copied().await?, []);
    world.until(1, "select stale from inbox.position").await;
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_the_feed_alone_keeps_the_copy() -> anyhow::Result<()> {
    let mut world = World::new("no-broker").await?;
    let run = world.follow_with(world.config(), Bus::none());
    world.ready(&run).await;
    for number in 0..50 {
        world.origin.put(&format!("K{}", number % 7), Some(&item("k", number % 10)));
    }
    world.at_head().await;
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_was_never_heard_of_is_followed_from_its_beginning() -> anyhow::Result<()> {
    let (world, _run) = World::serving("lane").await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.at_head().await;
    world.origin.put_in(Lane::Critical, "A", Some(&item("a", 2)));
    world.origin.put_in(Lane::Critical, "B", Some(&item("b", 1)));
    world.until(2, "select pn from inbox.position where stream = 'shop.items.critical'").await;
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_takes_too_long_is_answered_and_left_to_the_reader() -> anyhow::Result<()> {
    let (world, _run) = World::serving("slow").await?;
    world.origin.put("A", Some(&item("a", 16)));
    let start = Instant::now();
    world.push(1, 1).await;
    assert!(start.elapsed() < Duration::from_millis(650), "{:?}", start.elapsed());
    assert_eq!(world.hub.given_up(), 0);
    world.until(1, "select count(*) from inbox.journal where via = 'feed'").await;
    assert_eq!(world.number("select applied::bigint from copy.items").await?, 1);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_hangs_holds_up_the_road_of_its_pushes_once() -> anyhow::Result<()> {
    let (world, run) = World::serving("held-up").await?;
    world.origin.put("A", Some(&item("a", 15)));
    world.push(1, 1).await;
    let start = Instant::now();
    for number in 2..8 {
        world.origin.put("B", Some(&item("b", 1)));
        world.push(number, number).await;
    }
    // Six that waited for their turn would take 2.7 s.
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(world.hub.given_up(), 0, "they are answered with success");
    run.kill();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_busy_at_the_start_is_waited_for() -> anyhow::Result<()> {
    let mut world = World::new("busy").await?;
    let wait = Some(Duration::from_millis(50));
    let mut connection: tokio_postgres::Config = world.database_url().parse()?;
    connection.options("-c role=syncline_service");
    let manager = deadpool_postgres::Manager::new(connection, tokio_postgres::NoTls);
    world.pool = deadpool_postgres::Pool::builder(manager)
        .max_size(4)
        .wait_timeout(wait)
        .runtime(deadpool_postgres::Runtime::Tokio1)
        .build()?;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(world.pool.get().await?);
    }
    let run = world.follow();
    tokio::time::timeout(Duration::from_millis(500), run.config.stop.cancelled())
        .await
        .unwrap_err();
    drop(held);
    world.ready(&run).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_tells_each_move_of_a_position() -> anyhow::Result<()> {
    let (world, run) = World::serving("moves").await?;
    let monitor = &run.config.monitor;
    let normal = stream(Lane::Normal);
    let mut moves = monitor.moves();
    for number in 1..=2 {
        moves.borrow_and_update();
        world.origin.put("A", Some(&item("a", 1)));
        world.push(number, number).await;
        moves.changed().await?;
        let reached = monitor.position(&normal).map(|pn| usize::try_from(pn.get()));
        assert_eq!(reached, Some(Ok(number)));
    }
    assert_eq!(monitor.position(&stream(Lane::Critical)), None);
    Ok(())
}
