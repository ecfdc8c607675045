//! What deliveries and dirty keys cost a consumer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bus::Bus;
use contracts::Lane;
use inbox::{Change, Config, Dirty, Error, Projection, Sink, Transaction};
use testkit::{Lockstep, Trip, eventually};
use tokio::sync::Notify;
use tokio_postgres::Client;

use super::{CLEANING_MAX, Cost, DELIVERY_MAX, check, counted, show};
use crate::origin::{TOPIC, item, stream};
use crate::world::{Item, World};

/// How many changes come at once, or keys are dirty at once.
const SIZES: [usize; 6] = [1, 10, 100, 1, 100, 10];
/// So many alike in a row show that nothing else happens any more that belongs to the start.
const ALIKE: usize = 10;
/// How often a step is tried.
const TRIES_MAX: usize = 200;

const WRITE: &str = "
    insert into copy.items as i (key, version, name, size)
    select * from unnest($1::text[], $2::bigint[], $3::text[], $4::int[])
    on conflict (key) do update set version = excluded.version, name = excluded.name,
        size = excluded.size, applied = i.applied + 1";

/// Writes items in one statement, and marks each for an index.
struct Copied;

impl Projection for Copied {
    const TOPIC: &'static str = TOPIC;
    type Entity = Item;

    async fn apply(&self, tx: &Transaction<'_>, changes: &[Change<Item>]) -> Result<(), Error> {
        let items = || changes.iter().filter_map(|c| Some((c, c.entity.as_ref()?)));
        let keys: Vec<_> = items().map(|(change, _)| change.key.as_str()).collect();
        let versions: Vec<_> = items().map(|(change, _)| change.version.get()).collect();
        let names: Vec<_> = items().map(|(_, item)| item.name.as_str()).collect();
        let sizes: Vec<_> = items().map(|(_, item)| item.size).collect();
        let statement = tx.prepare_cached(WRITE).await?;
        tx.execute(&statement, &[&keys, &versions, &names, &sizes]).await?;
        Ok(())
    }

    async fn dirty(
        &self,
        _: &Transaction<'_>,
        changes: &[Change<Item>],
    ) -> Result<Vec<Dirty>, Error> {
        Ok(changes.iter().map(|change| change.marks("index", change.key.as_str())).collect())
    }
}

/// A consumer that follows by pushes alone: it asks the source when it starts and never again.
struct Consumer {
    world: World,
    wire: Lockstep,
}

impl Consumer {
    async fn serving() -> anyhow::Result<Self> {
        let mut world = World::new("costs").await?;
        let (wire, pool) = counted(&world.database_url(), 8)?;
        let config = Config { sync_interval_ms: 3_600_000, ..world.config() };
        let monitor = config.monitor.clone();
        let running = inbox::run(config, pool, Bus::memory(&world.hub), Copied);
        world.spawn(async move { running.await.unwrap() });
        eventually("the copy serves", async || Ok(monitor.ready())).await;
        Ok(Self { world, wire })
    }

    /// Delivers so many changes; answers what it cost.
    async fn deliver(&self, count: usize) -> anyhow::Result<Vec<Trip>> {
        for _ in 0..TRIES_MAX {
            let first = usize::try_from(self.world.origin.head().get())? + 1;
            for number in 0..count {
                self.world.origin.put(&format!("K{number:03}"), Some(&item("a", 1)));
            }
            self.wire.take();
            self.world.push(first, first + count - 1).await;
            let trips = self.wire.take();
            self.world.at_head().await;
            // A machine that stands still for a moment leaves a delivery to the reader.
            let via = format!("select via from inbox.journal where first = {first}");
            if self.world.text(&via).await?.as_deref() == Some("push") {
                return Ok(trips);
            }
        }
        anyhow::bail!("no delivery was taken")
    }

    /// Delivers until nothing else happens any more.
    async fn warm(&self) -> anyhow::Result<()> {
        let mut alike = (0, Cost::of([]));
        for _ in 0..TRIES_MAX {
            let trips = self.deliver(1).await?;
            let cost = Cost::of(&trips);
            let is_alike = cost == alike.1 && trips.iter().all(|trip| trip.prepared.is_empty());
            alike = (if is_alike { alike.0 + 1 } else { 0 }, cost);
            if alike.0 == ALIKE {
                return Ok(());
            }
        }
        anyhow::bail!("no {ALIKE} deliveries cost the same")
    }
}

/// Covers: B4, B6.
#[tokio::test]
async fn a_delivery_costs_the_same_however_many_changes_it_brings() -> anyhow::Result<()> {
    let consumer = Consumer::serving().await?;
    consumer.warm().await?;
    show("a delivery", &consumer.deliver(1).await?);
    let mut cost = None;
    for count in SIZES {
        let trips = consumer.deliver(count).await?;
        assert!(trips.iter().all(|trip| trip.is_durable));
        let first = *cost.get_or_insert(Cost::of(&trips));
        check(&format!("a delivery of {count}"), &trips, first);
        assert!(first.is_within(DELIVERY_MAX));
    }
    consumer.wire.take();
    consumer.world.push(1, 1).await;
    assert!(consumer.wire.take().is_empty(), "what is known costs nothing");
    consumer.world.balanced().await
}

/// Remembers what it cost from one batch to the next, and marks the next one meanwhile.
struct Index {
    wire: Lockstep,
    owner: Client,
    sizes: Mutex<VecDeque<usize>>,
    costs: Mutex<Vec<(usize, Vec<Trip>)>>,
    ended: Notify,
}

impl Index {
    async fn mark(&self, count: usize) -> anyhow::Result<()> {
        let mark = self.owner.prepare(include_str!("../../../queries/mark_dirty.sql")).await?;
        let keys: Vec<_> = (0..count).map(|number| format!("K{number:03}")).collect();
        let (sinks, streams) =
            (vec!["index"; count], vec![stream(Lane::Normal).to_string(); count]);
        let numbers: Vec<_> = (1..).take(count).collect::<Vec<i64>>();
        self.owner.execute(&mark, &[&sinks, &keys, &streams, &numbers]).await?;
        Ok(())
    }
}

struct Shared(Arc<Index>);

impl Sink for Shared {
    const NAME: &'static str = "index";

    async fn clean(&self, keys: &[String]) -> Result<Vec<String>, Error> {
        let index = &self.0;
        index.costs.lock().unwrap().push((keys.len(), index.wire.take()));
        let next = index.sizes.lock().unwrap().pop_front();
        match next {
            Some(count) => index.mark(count).await.map_err(Error::consumer)?,
            None => index.ended.notify_one(),
        }
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_batch_of_dirty_keys_costs_the_same_however_many_there_are() -> anyhow::Result<()> {
    let mut world = World::new("costs").await?;
    let (wire, pool) = counted(&world.database_url(), 8)?;
    let sizes = Mutex::new([1; ALIKE].into_iter().chain(SIZES).collect());
    let index = Arc::new(Index {
        wire,
        owner: world.owner().await?,
        sizes,
        costs: Mutex::default(),
        ended: Notify::new(),
    });
    index.mark(1).await?;
    let worker = inbox::run_sink(world.config(), pool, Shared(Arc::clone(&index)));
    world.spawn(async move { worker.await.unwrap() });
    index.ended.notified().await;
    let costs = std::mem::take(&mut *index.costs.lock().unwrap());
    assert_eq!(costs.len(), 1 + ALIKE + SIZES.len());
    // From one batch to the next: the end of the one, the beginning of the other.
    show("a batch of dirty keys", &costs[ALIKE].1);
    let cost = Cost::of(&costs[ALIKE].1);
    assert!(cost.is_within(CLEANING_MAX));
    for pair in costs[ALIKE..].windows(2) {
        let ((before, _), (count, trips)) = (&pair[0], &pair[1]);
        check(&format!("cleaning {before}, reading {count}"), trips, cost);
    }
    Ok(())
}
