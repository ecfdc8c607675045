//! Pushes that a consumer finds waiting together, and what becomes of those among them.

use bus::Bus;
use bytes::Bytes;
use contracts::Lane;
use inbox::Config;
use testkit::eventually;

use crate::origin::{item, stream};
use crate::world::World;

const BATCHES: &str =
    "select string_agg(first || '-' || last, ' ' order by first) from inbox.journal";

/// A machine that stands still for a moment leaves a push to the reader, and that is no fault.
const TRIES_MAX: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn pushes_that_wait_together_and_follow_each_other_are_one_batch() -> anyhow::Result<()> {
    let mut batches = None;
    for number in 0..TRIES_MAX {
        let (world, _run) = World::serving(&format!("together{number}")).await?;
        world.origin.silence();
        for size in 1..=9 {
            world.origin.put(&format!("K{}", size % 4), Some(&item("a", size)));
        }
        world.push(1, 1).await;
        world.hub.hold();
        // The first is known in part, and one comes twice.
        for (first, last) in [(1, 2), (3, 3), (4, 6), (4, 6), (7, 8)] {
            world.push(first, last).await;
        }
        let noise = Bytes::from_static(b"no envelope");
        Bus::memory(&world.hub).publish(&stream(Lane::Normal), Lane::Normal, noise).await?;
        world.push(9, 9).await;
        world.hub.release_together().await;
        batches = world.text(BATCHES).await?;
        world.until(1, "select count(*) from inbox.unreadable").await;
        world.origin.speak();
        world.at_head().await;
        assert_eq!(world.copied().await?, world.origin.living());
        world.balanced().await?;
        if batches.as_deref() == Some("1-1 2-6 7-8 9-9") {
            world.until(1, "select duplicates from inbox.position").await;
            return Ok(());
        }
    }
    panic!("the batches were {batches:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_lost_parts_those_that_wait_together() -> anyhow::Result<()> {
    let mut batches = None;
    for number in 0..TRIES_MAX {
        let (world, _run) = World::serving(&format!("parted{number}")).await?;
        world.origin.silence();
        for number in 1..=600 {
            world.origin.put(&format!("K{number}"), Some(&item("a", 1)));
        }
        world.hub.hold();
        for first in (1..=400).step_by(100) {
            world.push(first, first + 99).await;
        }
        world.push(501, 600).await;
        world.hub.release_together().await;
        batches = world.text(BATCHES).await?;
        world.origin.speak();
        world.at_head().await;
        assert_eq!(world.copied().await?, world.origin.living());
        world.balanced().await?;
        // No batch grows without end, and what follows the gap is left to the reader.
        if batches.as_deref() == Some("1-200 201-400") {
            world.until(1, "select left_to_reader from inbox.position").await;
            return Ok(());
        }
    }
    panic!("the batches were {batches:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_feed_answers_at_once_is_one_batch_and_answers_follow_each_other()
-> anyhow::Result<()> {
    let mut world = World::new("answers").await?;
    let run = world.follow_with(Config { feed_limit: 40, ..world.config() }, Bus::none());
    world.ready(&run).await;
    world.origin.silence();
    for number in 1..=100 {
        world.origin.put(&format!("K{}", number % 70), Some(&item("a", 1)));
    }
    world.origin.speak();
    world.at_head().await;
    assert_eq!(world.text(BATCHES).await?.as_deref(), Some("1-40 41-80 81-100"));
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_answer_is_asked_for_while_one_is_applied() -> anyhow::Result<()> {
    let mut world = World::new("ahead").await?;
    let run = world.follow_with(Config { feed_limit: 10, ..world.config() }, Bus::none());
    world.ready(&run).await;
    world.origin.silence();
    // The projection takes 0.7 s for what has this size.
    for number in 1..=30 {
        world.origin.put(&format!("K{number}"), Some(&item("a", if number == 5 { 16 } else { 1 })));
    }
    world.origin.speak();
    eventually("11 is asked for", async || Ok(world.origin.asked().contains(&10))).await;
    assert_eq!(world.number("select count(*) from inbox.journal").await?, 0);
    world.at_head().await;
    let asked = world.origin.asked().into_iter().filter(|after| (1..30).contains(after));
    assert_eq!(asked.collect::<Vec<_>>(), [10, 20], "no answer is asked for twice");
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
}
