//! What is clean: every change from before that moment is applied, and what it made dirty is clean.

use std::sync::Arc;
use std::time::{Duration, Instant};

use inbox::{Error, Monitor, Record, Sink};
use testkit::eventually;
use tokio::sync::Semaphore;

use crate::origin::{TOPIC, item};
use crate::world::World;

/// Waits for leave before it ends a batch.
struct Index(Arc<Semaphore>);

impl Sink for Index {
    const NAME: &'static str = "index";

    async fn clean(&self, _keys: &[String]) -> Result<Vec<String>, Error> {
        self.0.acquire().await.unwrap().forget();
        Ok(Vec::new())
    }
}

fn clean_at(monitor: &Monitor) -> Option<Instant> {
    monitor.clean_at(TOPIC, Index::NAME)
}

async fn clean_since(monitor: &Monitor, moment: Instant) {
    let what = "everything from before is clean";
    eventually(what, async || Ok(clean_at(monitor) >= Some(moment))).await;
}

/// For several calls nothing becomes clean.
async fn stands_still(world: &World, monitor: &Monitor) {
    let before = clean_at(monitor);
    for _ in 0..4 {
        world.origin.next_sync().await;
    }
    assert_eq!(clean_at(monitor), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_is_clean_once_its_changes_are_applied_and_noticed() -> anyhow::Result<()> {
    let mut world = World::new("clean").await?;
    let run = world.follow();
    let monitor = run.config.monitor.clone();
    world.ready(&run).await;
    stands_still(&world, &monitor).await;
    assert_eq!(clean_at(&monitor), None, "nobody asked for it");
    monitor.track(Index::NAME);
    clean_since(&monitor, Instant::now()).await;

    // Applied, and yet to be noticed: every later call waits for it.
    world.origin.put("A", Some(&item("a", 1)));
    let put = Instant::now();
    world.at_head().await;
    stands_still(&world, &monitor).await;
    assert!(clean_at(&monitor) < Some(put));
    let leave = Arc::new(Semaphore::new(0));
    let index = Index(Arc::clone(&leave));
    let worker = inbox::run_sink(run.config.clone(), world.pool.clone(), index);
    world.spawn(async move { worker.await.unwrap() });
    stands_still(&world, &monitor).await;
    leave.add_permits(1);
    clean_since(&monitor, put).await;
    world.until(0, "select count(*) from inbox.dirty").await;

    // Committed and not heard of: nothing pushes, and the feed is silent.
    world.origin.silence();
    world.origin.put("A", Some(&item("a", 2)));
    stands_still(&world, &monitor).await;
    leave.add_permits(10);
    world.origin.speak();
    clean_since(&monitor, Instant::now()).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_clean_while_the_source_is_not_heard() -> anyhow::Result<()> {
    let (world, run) = World::serving("unheard").await?;
    let monitor = &run.config.monitor;
    monitor.track(Index::NAME);
    clean_since(monitor, Instant::now()).await;
    world.origin.hold();
    tokio::time::timeout(Duration::from_secs(5), async {
        // What was answered before may still be looked at.
        let mut looks = monitor.looks();
        while tokio::time::timeout(Duration::from_millis(500), looks.changed()).await.is_ok() {}
    })
    .await?;
    let before = clean_at(monitor).unwrap();
    let held = Instant::now();
    assert!(before < held);
    world.origin.release();
    clean_since(monitor, held).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_past_and_a_rebuild_are_told_and_nothing_is_clean_meanwhile() -> anyhow::Result<()>
{
    let (mut world, run) = World::serving("pasts").await?;
    let monitor = run.config.monitor.clone();
    monitor.track(Index::NAME);
    let leave = Arc::new(Semaphore::new(1_000));
    let worker = inbox::run_sink(run.config.clone(), world.pool.clone(), Index(leave));
    world.spawn(async move { worker.await.unwrap() });
    for number in 0..5 {
        world.origin.put(&format!("K{number}"), Some(&item("a", number + 1)));
    }
    world.at_head().await;
    clean_since(&monitor, Instant::now()).await;
    let first = inbox::past(&world.pool, &[TOPIC]).await?;
    assert_eq!(inbox::past(&world.pool, &[TOPIC]).await?, first, "at rest it stays");

    world.origin.put("K0", Some(&item("b", 1)));
    world.at_head().await;
    assert_eq!(inbox::past(&world.pool, &[TOPIC]).await?, first, "a change alone is no other past");

    world.origin.restore(3);
    world.until(1, "select count(*) from inbox.topic where phase = 'diverged'").await;
    let stood = Instant::now();
    stands_still(&world, &monitor).await;
    assert!(clean_at(&monitor) < Some(stood));
    let diverged = inbox::past(&world.pool, &[TOPIC]).await?;
    assert_ne!(diverged, first);

    world.origin.allow_pages(Some(0));
    world.pool.get().await?.batch_execute("update inbox.topic set asked = 'asked'").await?;
    world.until(1, "select count(*) from inbox.topic where phase = 'loading'").await;
    stands_still(&world, &monitor).await;
    world.origin.allow_pages(None);
    clean_since(&monitor, Instant::now()).await;
    let rebuilt = inbox::past(&world.pool, &[TOPIC]).await?;
    assert!(rebuilt != diverged && rebuilt != first);

    // Another relay answers, and no number tells of it.
    world.origin.take_over();
    let taken = Instant::now();
    clean_since(&monitor, taken).await;
    let overtaken = inbox::past(&world.pool, &[TOPIC]).await?;
    assert_ne!(overtaken, rebuilt, "known before anything counts as clean");
    world.origin.put("K0", Some(&item("c", 1)));
    world.at_head().await;
    assert_eq!(inbox::past(&world.pool, &[TOPIC]).await?, overtaken);

    // As a dump is restored: the same rows in tables that were made anew.
    let restore = "create table inbox.restored (like inbox.identity including all);
        insert into inbox.restored select * from inbox.identity;
        drop table inbox.identity;
        alter table inbox.restored rename to identity;";
    world.owner().await?.batch_execute(restore).await?;
    let owner = world.owner().await?;
    owner.batch_execute("grant select on inbox.identity to syncline_service").await?;
    assert_ne!(inbox::past(&world.pool, &[TOPIC]).await?, overtaken);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_names_versions_and_records_that_are_set_aside() -> anyhow::Result<()> {
    let (world, _run) = World::serving("held").await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.origin.put("A", Some(&item("a", 2)));
    world.origin.put("B/1", Some(&item("b", 13)));
    world.origin.put("B-2", Some(&item("b", 1)));
    world.origin.put("C", Some(&item("c", 1)));
    world.origin.put("C", None);
    world.at_head().await;
    let record = |key: &str| Record { topic: TOPIC.to_owned(), key: key.to_owned() };
    let all = ["A", "B", "B/1", "B-2", "C"].map(record);
    let mut held = inbox::held(&world.pool, &all).await?;
    held.sort_by(|a, b| a.record.cmp(&b.record));
    let seen: Vec<_> = held
        .iter()
        .map(|held| {
            (
                held.record.key.as_str(),
                held.version.map(contracts::Version::get),
                held.has_open_case,
            )
        })
        .collect();
    let expected = [
        ("A", Some(2), false),
        ("B", None, false),
        ("B-2", Some(1), false),
        ("B/1", None, true),
        ("C", None, false),
    ];
    assert_eq!(seen, expected);
    let mut aside = inbox::set_aside(&world.pool, &all).await?;
    aside.sort();
    assert_eq!(aside, [record("B"), record("B/1")]);
    Ok(())
}
