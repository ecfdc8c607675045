//! After an unclean stop: the record that kills the process is found and set aside.

use std::sync::atomic::Ordering;

use testkit::eventually;

use crate::origin::item;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kills_the_process_ends_as_a_case() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("killer").await?;
    run.kill();
    world.origin.silence();
    for number in 0..8 {
        let size = if number == 5 { 15 } else { 1 };
        world.origin.put(&format!("K{number}"), Some(&item("k", size)));
    }
    world.origin.speak();
    let mut deaths = 0;
    let open = "select count(*) from inbox.cases where state = 'open'";
    while world.number(open).await? == 0 {
        assert!(deaths < 20, "{deaths} deaths and the record is not found");
        world.projection.is_hanging.store(false, Ordering::SeqCst);
        let run = world.follow();
        eventually("the process hangs, or is past the record", async || {
            let is_hanging = world.projection.is_hanging.load(Ordering::SeqCst);
            Ok(is_hanging || world.number(open).await? > 0)
        })
        .await;
        run.kill();
        deaths += 1;
    }
    assert!(deaths > 3, "it took {deaths} deaths: one alone is no proof");
    let run = world.follow();
    world.ready(&run).await;
    world.at_head().await;
    assert_eq!(world.copied().await?.len(), 7);
    assert_eq!(world.text("select key from inbox.cases").await?.as_deref(), Some("K5"));
    world.until(0, "select count(*) from inbox.attempt").await;
    run.stop().await;
    let marks = "select count(*) from inbox.topic where running is not null";
    assert_eq!(world.number(marks).await?, 0);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclean_stop_without_a_killer_leaves_no_trace() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("unclean").await?;
    run.kill();
    for number in 0..9 {
        world.origin.put(&format!("K{number}"), Some(&item("k", number)));
    }
    let run = world.follow();
    world.push(9, 9).await;
    world.ready(&run).await;
    world.at_head().await;
    world.until(0, "select count(*) from inbox.attempt").await;
    world.origin.put("L", Some(&item("l", 1)));
    world.push(10, 10).await;
    world.until(1, "select count(*) from inbox.journal where first = 10").await;
    assert_eq!(world.number("select count(*) from inbox.cases").await?, 0);
    world.balanced().await
}
