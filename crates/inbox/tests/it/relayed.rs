//! The same against a real relay: writers, a lossy broker, kills, and a source that was restored.

use std::time::{Duration, Instant};

use bus::{Bus, Fault};
use contracts::{Contract, Source};
use inbox::Config;
use outbox::{Relay, Tx};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use testkit::{Database, eventually, within};
use tokio_util::sync::CancellationToken;

use crate::origin::TOPIC;
use crate::world::{Run, World};

pub(crate) const CONTRACT: &str = r#"
entity: item
owner: shop
topic: shop.items
lane: normal
schema:
  version: "1"
  document:
    type: object
    additionalProperties: false
    required: []
    properties: { name: { type: string }, size: { type: integer } }
fields: { name: { classification: public }, size: { classification: public } }
conflict: source-of-truth
freshness_ms: 1000
retention_hours: 24
"#;

/// A source with its relay, whose calls are served over HTTP.
struct Shop {
    database: Database,
    stop: CancellationToken,
}

impl Shop {
    async fn open(world: &mut World) -> anyhow::Result<Self> {
        let database = Database::create("shop").await?;
        database.migrate("outbox", outbox::MIGRATIONS).await?;
        outbox::register(&database.connect().await?, &Contract::parse(CONTRACT)?).await?;
        let shop = Self { database, stop: CancellationToken::new() };
        shop.lead(world).await?;
        Ok(shop)
    }

    /// Starts a relay on this database and points consumers at it.
    async fn lead(&self, world: &mut World) -> anyhow::Result<()> {
        let source = Source::parse("shop")?;
        let url = self.database.url().into();
        let relay = Relay::open(&outbox::Config::default(), source, &url, Bus::memory(&world.hub))?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        world.url = format!("http://{}", listener.local_addr()?);
        let (routes, stop) = (relay.routes(), self.stop.clone());
        world.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        world.spawn(async move { relay.run(stop).await });
        Ok(())
    }

    /// Writes, deletes and creates again, as the seed says.
    async fn write(&self, seed: u64, times: usize) -> anyhow::Result<()> {
        let pool = self.database.pool(1)?;
        let client = pool.get().await?;
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..times {
            let key = format!("K{:03}", random.random_range(0..120));
            let tx = Tx::begin(&client);
            if random.random_range(0..10) == 0 {
                outbox::delete(&tx, TOPIC, &key).await?;
            } else {
                let value = json!({"name": key, "size": random.random_range(0..12)});
                outbox::append(&tx, TOPIC, &key, &value).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Writes a key that was never written.
    async fn put(&self, key: &str) -> anyhow::Result<()> {
        let pool = self.database.pool(1)?;
        let client = pool.get().await?;
        let tx = Tx::begin(&client);
        outbox::append(&tx, TOPIC, key, &json!({"name": key, "size": 1})).await?;
        Ok(tx.commit().await?)
    }

    /// Waits until the copy equals the source, by keys, versions and digests.
    async fn equals(&self, world: &World) -> anyhow::Result<()> {
        let client = self.database.connect().await?;
        within(Duration::from_secs(30), "copy and source are equal", async || {
            let sql = "select key, version, deleted, sha256(payload) as digest \
                       from outbox.current where topic = 'shop.items' order by key";
            let owned = client.query(sql, &[]).await?;
            let sql = "select key, version, deleted, digest from inbox.versions \
                       where version > 0 order by key";
            let copied = world.pool.get().await?.query(sql, &[]).await?;
            let row = |row: &tokio_postgres::Row| -> (String, i64, bool, Option<Vec<u8>>) {
                (row.get(0), row.get(1), row.get(2), row.get(3))
            };
            let alike = owned.iter().map(row).eq(copied.iter().map(row));
            let living = owned.iter().filter(|row| !row.get::<_, bool>("deleted"));
            let living: Vec<(String, i64)> = living.map(|r| (r.get(0), r.get(1))).collect();
            Ok(alike && living == world.copied().await?)
        })
        .await;
        world.balanced().await
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn again(world: &mut World, config: &Config) -> Run {
    let config = Config {
        stop: CancellationToken::new(),
        monitor: inbox::Monitor::default(),
        ..config.clone()
    };
    let bus = Bus::memory(&world.hub);
    world.follow_with(config, bus)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_and_losses_the_copy_equals_its_source() -> anyhow::Result<()> {
    let mut world = World::new("relayed").await?;
    let shop = Shop::open(&mut world).await?;
    let run = world.follow();
    world.ready(&run).await;
    let faults = [Fault::Pass, Fault::Lose, Fault::Repeat, Fault::AnswerLost, Fault::Refuse];
    world.hub.script((0..400).map(|n: usize| faults[n * 7 % 11 % faults.len()]));
    futures::try_join!(shop.write(1, 400), shop.write(2, 400), shop.write(3, 400))?;
    shop.equals(&world).await?;
    assert_eq!(world.number("select open_cases from inbox.position").await?, 0);
    assert_eq!(world.number("select rebuild from inbox.topic").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_again_and_again_while_it_is_loaded_ends_equal() -> anyhow::Result<()>
{
    let mut world = World::new("killed-pages").await?;
    let shop = Shop::open(&mut world).await?;
    shop.write(7, 300).await?;
    let config = Config { page_limit: 7, ..world.config() };
    let writing = shop.write(8, 400);
    let killing = async {
        for _ in 0..3 {
            let run = again(&mut world, &config);
            let before = world.text("select cursor from inbox.topic").await?;
            eventually("a page is in", async || {
                let cursor = world.text("select cursor from inbox.topic").await?;
                let serves =
                    world.number("select count(*) from inbox.topic where phase = 'serving'");
                Ok(cursor != before || serves.await? == 1)
            })
            .await;
            run.kill();
        }
        anyhow::Ok(())
    };
    futures::try_join!(writing, killing)?;
    let run = again(&mut world, &config);
    world.ready(&run).await;
    shop.equals(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_copy_is_loaded_again() -> anyhow::Result<()> {
    let mut world = World::new("emptied").await?;
    let shop = Shop::open(&mut world).await?;
    shop.write(9, 200).await?;
    let run = world.follow();
    world.ready(&run).await;
    let client = world.pool.get().await?;
    client.batch_execute("truncate copy.items; update inbox.topic set asked = 'damaged'").await?;
    shop.write(10, 200).await?;
    shop.equals(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_the_copy_within_a_moment() -> anyhow::Result<()> {
    let mut world = World::new("moment").await?;
    let shop = Shop::open(&mut world).await?;
    let run = world.follow();
    world.ready(&run).await;
    shop.write(11, 20).await?;
    shop.equals(&world).await?;
    let pushed = "select count(*) from inbox.journal where via = 'push'";
    let before = world.number(pushed).await?;
    let start = Instant::now();
    for number in 0..10 {
        shop.put(&format!("moment {number}")).await?;
        shop.equals(&world).await?;
    }
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // Now and then the reader is first, since a sync may hear of a head before it is pushed.
    assert!(world.number(pushed).await? - before >= 5);
    Ok(())
}
