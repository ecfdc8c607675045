//! After an unclean stop: the record that kills the process is found and set aside.

use std::sync::atomic::Ordering;

use bus::Bus;
use testkit::eventually;

use crate::origin::item;
use crate::world::{Run, World};

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
    assert_eq!(world.number("select count(*) from inbox.dirty where key = 'K5'").await?, 1);
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

const RUNNING: &str = "select running::text from inbox.topic";

/// A consumer after an unclean stop, with something to catch up that it cannot read yet.
async fn unclean(label: &str, size: i32) -> anyhow::Result<World> {
    let (world, run) = World::serving(label).await?;
    run.kill();
    world.origin.silence();
    world.origin.put("A", Some(&item("a", size)));
    Ok(world)
}

/// Starts it, and waits until it has noticed how it was stopped.
async fn begin(world: &mut World) -> anyhow::Result<Run> {
    let before = world.text(RUNNING).await?;
    let run = world.follow();
    eventually("it has begun", async || Ok(world.text(RUNNING).await? != before)).await;
    Ok(run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_does_not_stop_a_careful_copy() -> anyhow::Result<()> {
    let mut world = unclean("restarted", 1).await?;
    let run = begin(&mut world).await?;
    world.disconnect().await?;
    world.origin.speak();
    world.at_head().await;
    world.ready(&run).await;
    world.until(0, "select count(*) from inbox.attempt").await;
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn caution_takes_no_connection_from_the_pool() -> anyhow::Result<()> {
    let mut world = unclean("single", 1).await?;
    world.origin.speak();
    let pool = world.own_pool(1)?;
    let running =
        inbox::run(world.config(), pool, Bus::memory(&world.hub), world.projection.clone());
    world.spawn(async move { running.await.unwrap() });
    world.at_head().await;
    world.until(0, "select count(*) from inbox.attempt").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_living_processes_are_no_deaths() -> anyhow::Result<()> {
    let mut world = unclean("living", 1).await?;
    world.projection.troubles.lock().unwrap().extend(["55P03"; 12]);
    let first = begin(&mut world).await?;
    let second = begin(&mut world).await?;
    world.origin.speak();
    world.at_head().await;
    world.ready(&first).await;
    world.ready(&second).await;
    assert!(world.projection.troubles.lock().unwrap().is_empty());
    assert_eq!(world.number("select count(*) from inbox.cases").await?, 0);
    assert_eq!(world.copied().await?, world.origin.living());
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_takes_nothing_from_what_killed_another_process() -> anyhow::Result<()> {
    let mut world = unclean("evidence", 15).await?;
    world.origin.speak();
    let hanging = begin(&mut world).await?;
    world.until(1, "select count(*) from inbox.attempt").await;
    hanging.kill();
    world.origin.silence();
    let other = begin(&mut world).await?;
    other.stop().await;
    assert_eq!(world.text(RUNNING).await?, None);
    assert_eq!(world.number("select count(*) from inbox.attempt").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_hangs_keeps_nobody_from_asking_the_source() -> anyhow::Result<()> {
    let mut world = unclean("hanging", 15).await?;
    world.origin.speak();
    let _run = begin(&mut world).await?;
    world.until(1, "select count(*) from inbox.attempt").await;
    world.origin.next_sync().await;
    world.origin.next_sync().await;
    Ok(())
}
