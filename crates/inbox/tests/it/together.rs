//! Pushes that a consumer finds waiting together, and what becomes of those among them.

use bus::Bus;
use bytes::Bytes;
use contracts::Lane;
use inbox::Config;

use crate::origin::{item, stream};
use crate::world::World;

const POSITION: &str = "select coalesce(max(pn), -1) from inbox.position";
const BATCHES: &str =
    "select string_agg(first || '-' || last, ' ' order by first) from inbox.journal";

#[tokio::test(flavor = "multi_thread")]
async fn pushes_that_wait_together_and_follow_each_other_are_one_batch() -> anyhow::Result<()> {
    let (world, _run) = World::serving("together").await?;
    world.origin.silence();
    for size in 1..=9 {
        world.origin.put(&format!("K{}", size % 4), Some(&item("a", size)));
    }
    world.push(1, 1).await;
    world.until(1, POSITION).await;
    world.hub.hold();
    // Two are known in part: the first, and the third's repetition with what follows it.
    for (first, last) in [(1, 2), (3, 3), (4, 6), (4, 6), (7, 8)] {
        world.push(first, last).await;
    }
    let noise = Bytes::from_static(b"no envelope");
    Bus::memory(&world.hub).publish(&stream(Lane::Normal), Lane::Normal, noise).await?;
    world.push(9, 9).await;
    world.hub.release_together().await;
    assert_eq!(world.text(BATCHES).await?.as_deref(), Some("1-1 2-6 7-8 9-9"));
    world.until(1, "select count(*) from inbox.unreadable").await;
    world.origin.speak();
    world.at_head().await;
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_lost_parts_those_that_wait_together() -> anyhow::Result<()> {
    let (world, _run) = World::serving("parted").await?;
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
    world.until(400, POSITION).await;
    let largest = world.number("select max(last - first + 1) from inbox.journal").await?;
    assert_eq!(largest, 200, "no batch grows without end");
    world.until(1, "select left_to_reader from inbox.position").await;
    world.origin.speak();
    world.at_head().await;
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
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
