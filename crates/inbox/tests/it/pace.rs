//! What one delivery costs: the time from its hand-over to its answer, printed and not judged,
//! since that is the machine's. Run it alone, as a release build, to compare two versions:
//! `cargo test --release -p inbox --test it pace -- --nocapture`.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::Bus;
use contracts::Lane;
use inbox::{Change, Dirty, Error, Projection, Transaction};
use testkit::eventually;

use crate::origin::{TOPIC, stream};
use crate::world::World;

/// How many keys are known before the first delivery.
const KEYS: usize = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
/// How often each kind of delivery is made.
const TIMES: usize = if cfg!(debug_assertions) { 5 } else { 400 };

const FILL: &str = "
    create table copy.plain (
        key text collate \"C\" primary key, version bigint not null, name text, size int
    ) with (fillfactor = 80);
    grant all on copy.plain to syncline_service;
    insert into copy.plain select 'SKU-' || n, 0, 'plain', 0 from generate_series(0, @ - 1) as n;
    insert into inbox.versions
    select 'shop.items', 'SKU-' || n, 1, 0, true, null, 0 from generate_series(0, @ - 1) as n;
    vacuum analyze";

const WRITE: &str = "
    insert into copy.plain (key, version, name, size)
    select * from unnest($1::text[], $2::bigint[], $3::text[], $4::int[])
    on conflict (key) do update
    set version = excluded.version, name = excluded.name, size = excluded.size";

#[derive(serde::Deserialize)]
struct Plain {
    name: String,
    size: i32,
}

/// A copy of one statement, as those of the services are.
struct Copy {
    marks: bool,
}

impl Projection for Copy {
    const TOPIC: &'static str = TOPIC;
    type Entity = Plain;

    async fn apply(&self, tx: &Transaction<'_>, changes: &[Change<Plain>]) -> Result<(), Error> {
        let keys: Vec<_> = changes.iter().map(|change| change.key.as_str()).collect();
        let versions: Vec<_> = changes.iter().map(|change| change.version.get()).collect();
        let entity =
            |change: &Change<Plain>| change.entity.as_ref().map(|e| (e.name.clone(), e.size));
        let (names, sizes): (Vec<_>, Vec<_>) = changes.iter().filter_map(entity).unzip();
        let write = tx.prepare_cached(WRITE).await?;
        tx.execute(&write, &[&keys, &versions, &names, &sizes]).await?;
        Ok(())
    }

    async fn dirty(
        &self,
        _: &Transaction<'_>,
        changes: &[Change<Plain>],
    ) -> Result<Vec<Dirty>, Error> {
        let marks = changes.iter().filter(|_| self.marks);
        Ok(marks.map(|change| change.marks("index", change.key.as_str())).collect())
    }
}

/// About 500 bytes, as a product has them.
fn payload(size: usize) -> String {
    let text = "Fleece that is warm outdoors, with a hood and two pockets. ".repeat(7);
    format!(r#"{{"name":"Chaz Kangeroo Hoodie","size":{size},"climate":["all"],"text":"{text}"}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pace_of_deliveries_is_printed() -> anyhow::Result<()> {
    for marks in [false, true] {
        let mut world = World::new("pace").await?;
        let fill = FILL.replace('@', &KEYS.to_string());
        let owner = world.owner().await?;
        for statement in fill.split(';') {
            owner.batch_execute(statement).await?;
        }
        let url = world.database_url();
        let (_, name) = url.rsplit_once('/').context("a database in the URL")?;
        let quick = format!("alter database \"{name}\" set synchronous_commit = off");
        owner.batch_execute(&quick).await?;
        let bus = Bus::memory(&world.hub);
        let config = world.config();
        let running = inbox::run(config.clone(), world.pool.clone(), bus.clone(), Copy { marks });
        world.spawn(async move { running.await.unwrap() });
        eventually("the copy serves", async || Ok(config.monitor.ready())).await;
        world.origin.silence();
        let mut first = 1;
        for changes in [1, 10, 100] {
            let mut taken = Vec::with_capacity(TIMES);
            for round in 0..TIMES {
                for offset in 0..changes {
                    let key = (first + offset) * 7_919 % KEYS;
                    world.origin.put(&format!("SKU-{key}"), Some(&payload(round)));
                }
                let envelope = world.origin.envelope(first, first + changes - 1);
                let begun = Instant::now();
                bus.publish(&stream(Lane::Normal), Lane::Normal, envelope).await?;
                taken.push(begun.elapsed());
                first += changes;
            }
            let reached = config.monitor.position(&stream(Lane::Normal)).context("a position")?;
            assert_eq!(usize::try_from(reached.get())?, first - 1, "a delivery was left over");
            print(if marks { "marked dirty" } else { "no marks" }, changes, taken);
        }
        world.balanced().await?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is printed and not judged")]
fn print(kind: &str, changes: usize, mut taken: Vec<Duration>) {
    taken.sort_unstable();
    let at = |percent: usize| taken[taken.len() * percent / 100].as_micros();
    let [p10, p50, p90] = [10, 50, 90].map(at);
    let each = p50 / changes as u128;
    println!("{changes:>3} changes, {kind}: p10 {p10} us, p50 {p50} us, p90 {p90} us, {each} each");
}
