//! Dirty keys: what is marked is cleaned, and what is marked meanwhile stays.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
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
    rights: Arc<Mutex<Vec<&'static str>>>,
}

impl Index {
    fn new(leave: usize) -> Self {
        let leave = Arc::new(Semaphore::new(leave));
        Self { leave, seen: Arc::default(), failures: Arc::default(), rights: Arc::default() }
    }

    fn rights(&self) -> Vec<&'static str> {
        self.rights.lock().unwrap().clone()
    }

    fn seen(&self) -> Vec<Vec<String>> {
        self.seen.lock().unwrap().clone()
    }
}

impl Sink for Index {
    const NAME: &'static str = "index";

    async fn clean(&self, keys: &[String]) -> Result<Vec<String>, Error> {
        self.seen.lock().unwrap().push(keys.to_vec());
        {
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(Error::consumer("the disk is full"));
            }
        }
        self.leave.acquire().await.unwrap().forget();
        Ok(Vec::new())
    }

    async fn begin(&self) {
        self.rights.lock().unwrap().push("begin");
    }

    fn end(&self) {
        self.rights.lock().unwrap().push("end");
    }
}

/// Does to the dirty keys what the test says, while it is given a batch.
struct Meanwhile<F> {
    pool: Pool,
    seen: Arc<Mutex<Vec<Vec<String>>>>,
    then: F,
}

/// What is to be marked meanwhile, and what is to be cleaned in place of the batch.
type Then = (Vec<String>, Vec<String>);

impl<F: Fn(&[String]) -> Then + Send + Sync + 'static> Sink for Meanwhile<F> {
    const NAME: &'static str = "index";

    async fn clean(&self, keys: &[String]) -> Result<Vec<String>, Error> {
        let (marked, rest) = (self.then)(keys);
        mark(&self.pool, &marked).await.map_err(Error::consumer)?;
        self.seen.lock().unwrap().push(keys.to_vec());
        Ok(rest)
    }
}

/// Runs a worker in which that happens; answers the batches that it is given.
fn meanwhile(
    world: &mut World,
    then: impl Fn(&[String]) -> Then + Send + Sync + 'static,
) -> Arc<Mutex<Vec<Vec<String>>>> {
    let seen = Arc::default();
    let sink = Meanwhile { pool: world.pool.clone(), seen: Arc::clone(&seen), then };
    let worker = inbox::run_sink(world.config(), world.pool.clone(), sink);
    world.spawn(async move { worker.await.unwrap() });
    seen
}

/// Marks keys one by one as a commit would, the first first.
async fn mark(pool: &Pool, keys: &[String]) -> anyhow::Result<()> {
    let client = pool.get().await?;
    let sql = client.prepare_cached(include_str!("../../queries/mark_dirty.sql")).await?;
    for key in keys {
        client
            .execute(
                &sql,
                &[&["index"].as_slice(), &[key].as_slice(), &[""].as_slice(), &[0_i64].as_slice()],
            )
            .await?;
    }
    Ok(())
}

fn named(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}{number:03}")).collect()
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

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_late_nor_a_busy_key_starves() -> anyhow::Result<()> {
    let mut world = World::new("starving").await?;
    mark(&world.pool, &named("a", 500)).await?;
    mark(&world.pool, &["busy".to_owned(), "late".to_owned()]).await?;
    let turn = AtomicUsize::new(0);
    let seen = meanwhile(&mut world, move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        let fresh = if turn < 4 { named(&format!("a{turn}-"), 500) } else { Vec::new() };
        (fresh.into_iter().chain(["busy".to_owned()]).collect(), Vec::new())
    });
    eventually("a second batch is done", async || Ok(seen.lock().unwrap().len() > 1)).await;
    let second = seen.lock().unwrap()[1].clone();
    assert_eq!(second.len(), 500);
    assert!(second.contains(&"late".to_owned()), "keys before it in the alphabet keep it away");
    assert!(second.contains(&"busy".to_owned()), "its own marks keep it away");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_marked_all_the_time_keep_nobody_away() -> anyhow::Result<()> {
    let mut world = World::new("crowded").await?;
    mark(&world.pool, &named("a", 500)).await?;
    mark(&world.pool, &["late".to_owned()]).await?;
    let seen = meanwhile(&mut world, |keys| (keys.to_vec(), Vec::new()));
    eventually("a second batch is done", async || Ok(seen.lock().unwrap().len() > 1)).await;
    assert!(seen.lock().unwrap()[1].contains(&"late".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_from_a_key_takes_its_place() -> anyhow::Result<()> {
    let mut world = World::new("unfolded").await?;
    mark(&world.pool, &["many".to_owned()]).await?;
    let seen = meanwhile(&mut world, |keys| match keys {
        [key] if key == "many" => (Vec::new(), vec!["one".to_owned(), "two".to_owned()]),
        _ => (Vec::new(), Vec::new()),
    });
    world.until(0, DIRTY).await;
    assert_eq!(*seen.lock().unwrap(), [vec!["many"], vec!["one", "two"]]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_one_works_and_the_other_takes_its_place() -> anyhow::Result<()> {
    let mut world = World::new("alone").await?;
    let workers = [Index::new(100), Index::new(100)];
    let mut running = Vec::new();
    for index in &workers {
        let worker = inbox::run_sink(world.config(), world.pool.clone(), index.clone());
        running.push(world.spawn(async move { worker.await.unwrap() }));
    }
    for round in named("round", 3) {
        mark(&world.pool, &[round]).await?;
        world.until(0, DIRTY).await;
    }
    let first = usize::from(workers[0].rights().is_empty());
    let (worked, waited) = (&workers[first], &workers[1 - first]);
    assert_eq!((worked.seen().len(), waited.seen().len()), (3, 0));
    assert!(waited.rights().is_empty());

    running[first].abort();
    mark(&world.pool, &["later".to_owned()]).await?;
    world.until(0, DIRTY).await;
    assert_eq!((worked.seen().len(), waited.seen().len()), (3, 1));
    assert_eq!(waited.rights(), ["begin"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_session_ends_says_so_and_begins_again() -> anyhow::Result<()> {
    let mut world = World::new("ended").await?;
    let index = Index::new(100);
    let worker = inbox::run_sink(world.config(), world.pool.clone(), index.clone());
    world.spawn(async move { worker.await.unwrap() });
    eventually("it has begun", async || Ok(index.rights() == ["begin"])).await;
    let end = "begin; set local role none;
        select pg_terminate_backend(pid) from pg_locks join pg_database as d on d.oid = database
        where locktype = 'advisory' and datname = current_database(); commit";
    world.pool.get().await?.batch_execute(end).await?;
    eventually("it has begun again", async || Ok(index.rights() == ["begin", "end", "begin"]))
        .await;
    mark(&world.pool, &["A".to_owned()]).await?;
    world.until(0, DIRTY).await;
    Ok(())
}

/// Its kernel goes on answering for it, so that only the server's own limit frees the lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_process_does_not_keep_others_from_working() -> anyhow::Result<()> {
    let mut world = World::new("frozen").await?;
    let (freeze, thaw) = std::sync::mpsc::channel::<()>();
    let (config, pool) = (world.config(), world.own_pool(8)?);
    let frozen = Frozen { begun: Arc::default(), thaw: Mutex::new(thaw) };
    let begun = Arc::clone(&frozen.begun);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        drop(runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(1), inbox::run_sink(config, pool, frozen))
                .await
        }));
    });
    eventually("it has begun", async || Ok(begun.load(Ordering::SeqCst) == 1)).await;
    let index = Index::new(100);
    let worker = inbox::run_sink(world.config(), world.pool.clone(), index.clone());
    world.spawn(async move { worker.await.unwrap() });
    mark(&world.pool, &["A".to_owned()]).await?;
    eventually("another works", async || Ok(index.seen() == [["A"]])).await;
    drop(freeze);
    thread.join().unwrap();
    Ok(())
}

/// Stands still with all of its process as soon as it has begun.
struct Frozen {
    begun: Arc<AtomicUsize>,
    thaw: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Sink for Frozen {
    const NAME: &'static str = "index";

    async fn clean(&self, _: &[String]) -> Result<Vec<String>, Error> {
        Err(Error::consumer("was frozen"))
    }

    async fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.thaw.lock().unwrap().recv().unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_commit_wakes_the_worker_before_its_timer() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("at-once").await?;
    world.origin.silence();
    let index = Index::new(100);
    let worker = inbox::run_sink(run.config.clone(), world.pool.clone(), index.clone());
    world.spawn(async move { worker.await.unwrap() });
    eventually("it has begun", async || Ok(index.rights() == ["begin"])).await;
    let start = Instant::now();
    for number in 1..=8_u8 {
        world.origin.put("A", Some(&item("a", number.into())));
        world.push(number.into(), number.into()).await;
        world.until(0, DIRTY).await;
    }
    assert!(start.elapsed() < Duration::from_secs(2), "8 rounds: {:?}", start.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_dirty_from_another_past_hides_no_new_number() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("hidden").await?;
    for number in 1..=5_u8 {
        world.origin.put("A", Some(&item("a", i32::from(20 + number))));
    }
    world.at_head().await;
    assert_eq!(dirty(&world).await?.first().map(|(_, high)| *high), Some(5));
    world.origin.restore(1);
    world.until(1, "select count(*) from inbox.topic where phase = 'diverged'").await;
    world.pool.get().await?.batch_execute("update inbox.topic set asked = 'asked'").await?;
    world.until(1, "select count(*) from inbox.topic where phase = 'serving'").await;
    assert_eq!(dirty(&world).await?, [(0, 0)], "it is dirty, and no number says why");

    let index = Index::new(0);
    world.origin.put("A", Some(&item("b", 1)));
    world.at_head().await;
    let worker = inbox::run_sink(run.config.clone(), world.pool.clone(), index.clone());
    world.spawn(async move { worker.await.unwrap() });
    eventually("the worker has begun", async || Ok(index.seen().len() == 1)).await;
    world.origin.put("A", Some(&item("c", 1)));
    world.at_head().await;
    index.leave.add_permits(1);
    eventually("it is given the key again", async || Ok(index.seen().len() == 2)).await;
    assert_eq!(dirty(&world).await?, [(3, 3)], "what came during the batch has its own number");
    index.leave.add_permits(1);
    world.until(0, DIRTY).await;
    Ok(())
}
