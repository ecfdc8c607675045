//! Dirty keys: what is marked is cleaned, and what is marked meanwhile stays.

use std::sync::Arc;
use std::sync::Mutex;

use inbox::{Error, Sink};
use testkit::eventually;
use tokio::sync::Semaphore;

use crate::origin::item;
use crate::world::World;

/// Waits for leave before it ends each batch, and remembers what it was given.
#[derive(Clone)]
struct Index {
    leave: Arc<Semaphore>,
    seen: Arc<Mutex<Vec<Vec<String>>>>,
    failures: Arc<Mutex<usize>>,
}

impl Index {
    fn new(leave: usize) -> Self {
        let leave = Arc::new(Semaphore::new(leave));
        Self { leave, seen: Arc::default(), failures: Arc::default() }
    }

    fn seen(&self) -> Vec<Vec<String>> {
        self.seen.lock().unwrap().clone()
    }
}

impl Sink for Index {
    const NAME: &'static str = "index";

    async fn clean(&self, keys: &[String]) -> Result<(), Error> {
        self.seen.lock().unwrap().push(keys.to_vec());
        {
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(Error::consumer("the disk is full"));
            }
        }
        self.leave.acquire().await.unwrap().forget();
        Ok(())
    }
}

const DIRTY: &str = "select count(*) from inbox.dirty";

async fn dirty(world: &World) -> anyhow::Result<Vec<(i64, i64)>> {
    let rows = world.pool.get().await?.query("select low, high from inbox.dirty", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_marked_while_it_is_cleaned_stays_dirty() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("marked").await?;
    world.origin.silence();
    for number in 1..=3_u8 {
        world.origin.put("A", Some(&item("a", i32::from(10 - number))));
        world.push(number.into(), number.into()).await;
    }
    world.until(1, DIRTY).await;
    assert_eq!(dirty(&world).await?, [(1, 3)], "low stays, high goes on");

    let index = Index::new(0);
    let worker = inbox::run_sink(run.config.clone(), world.pool.clone(), index.clone());
    world.spawn(async move { worker.await.unwrap() });
    eventually("the worker has begun", async || Ok(index.seen().len() == 1)).await;
    for number in 4..=5_u8 {
        world.origin.put("A", Some(&item("a", i32::from(10 - number))));
        world.push(number.into(), number.into()).await;
    }
    index.leave.add_permits(1);
    eventually("it is given the key again", async || Ok(index.seen().len() == 2)).await;
    assert_eq!(dirty(&world).await?, [(4, 5)], "1 to 3 are done");
    index.leave.add_permits(1);
    world.until(0, DIRTY).await;
    assert_eq!(index.seen(), vec![vec!["A".to_owned()]; 2]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_wakes_the_worker_and_a_failure_is_repeated() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("woken").await?;
    world.origin.silence();
    let index = Index::new(100);
    *index.failures.lock().unwrap() = 2;
    let worker = inbox::run_sink(run.config.clone(), world.pool.clone(), index.clone());
    world.spawn(async move { worker.await.unwrap() });
    world.origin.put("A", Some(&item("a", 1)));
    world.origin.put("B", Some(&item("b", 1)));
    world.push(1, 2).await;
    eventually("it is repeated until it works", async || Ok(index.seen().len() == 3)).await;
    world.until(0, DIRTY).await;
    let seen = index.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[2], ["A", "B"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_snapshot_are_marked_without_a_number() -> anyhow::Result<()> {
    let mut world = World::new("unnumbered").await?;
    world.origin.put("A", Some(&item("a", 1)));
    let run = world.follow();
    world.ready(&run).await;
    assert_eq!(dirty(&world).await?, [(0, 0)]);
    world.origin.put("A", Some(&item("a", 2)));
    world.push(2, 2).await;
    world.until(2, DIRTY).await;
    Ok(())
}
