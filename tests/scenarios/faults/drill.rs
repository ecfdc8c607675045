//! One fault while a thousand changes flow through a whole mesh, and everything that must hold
//! afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::{COPIES, Ends, Mesh, Tally, Watch, Writers};
use serde_json::json;
use tokio::task::JoinSet;

use super::outside;

/// Copies of which the consumer keeps rows of its own.
const WITH_ROWS: [(&str, &str); 5] = [
    ("catalog.products", "search-indexer"),
    ("pricing.prices", "search-indexer"),
    ("warehouse.stock", "search-indexer"),
    ("catalog.products", "pricing"),
    ("catalog.products", "warehouse"),
];
const CONSUMERS: [&str; 4] = ["search-indexer", "gateway", "pricing", "warehouse"];
const SOURCES: [(&str, &str); 3] = [
    ("catalog", "catalog.products"),
    ("pricing", "pricing.prices"),
    ("warehouse", "warehouse.stock"),
];

/// A little more than a thousand, since deletes of what is not there change nothing.
const WRITES: u32 = 1_100;
const CHANGES: u32 = 1_000;
/// The fault begins when so many changes are numbered, and before so many are.
const BEGIN: std::ops::Range<i64> = 150..900;
const SKUS: u32 = 150;
/// Generous: it costs nothing when things go well.
const PATIENCE: Duration = Duration::from_secs(120);
/// A look may start a process or three connections; a hundred in a second would be a load.
const LOOK: Duration = Duration::from_millis(100);
/// Written after the fault, to see when it arrives.
const PROBE: &str = "PROBE";

/// By which way the writers reach the owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// As every user does.
    Gateway,
    /// Each owner's own address.
    Owners,
}

/// A mesh on which a fault is tried, with the logs of its consumers.
pub(super) struct Drill {
    pub(super) mesh: Mesh,
    pub(super) url: String,
    watches: Vec<Watch>,
}

impl Drill {
    /// Starts a mesh that was prepared, with these ways as `who:part=port`.
    pub(super) async fn begin(mesh: Mesh, ways: &[String]) -> anyhow::Result<Self> {
        let mut arguments = vec!["--empty"];
        for way in ways {
            arguments.extend(["--via", way]);
        }
        mesh.start(&arguments)?;
        let mut watches = Vec::new();
        for consumer in CONSUMERS {
            watches.push(Watch::begin(&mesh, consumer).await?);
        }
        let url = mesh.url()?;
        Ok(Self { mesh, url, watches })
    }

    /// Lets a thousand changes flow and the fault happen among them; it answers by what it is known
    /// to have bitten. Prints how long after it all was well.
    pub(super) async fn survives<F>(&self, name: &str, door: Door, fault: F) -> anyhow::Result<()>
    where
        F: AsyncFnOnce(&Self) -> anyhow::Result<String>,
    {
        let start = Instant::now();
        let breaking = async {
            self.until("changes flow", async || Ok(self.numbered().await? >= BEGIN.start)).await;
            let numbered = self.numbered().await?;
            ensure!(BEGIN.contains(&numbered), "{numbered} changes before the fault");
            let bit = fault(self).await.with_context(|| name.to_owned())?;
            let ended = Instant::now();
            self.probe().await?;
            Ok((bit, ended, ended.elapsed()))
        };
        let (tally, broken) = tokio::join!(self.write(door), breaking);
        let (bit, ended, recovered) = broken?;
        let tally = tally?;
        let changes: u32 = SOURCES.iter().map(|(_, topic)| tally.of(topic).changes()).sum();
        ensure!(changes >= CHANGES, "only {changes} changes: {tally:?}");
        self.all_is_well().await.with_context(|| format!("after: {name}"))?;
        println!(
            "{name}: recovered after {recovered:.1?}, all settled and checked {:.1?} after its \
             end, {:.1?} altogether; {changes} changes; {bit}",
            ended.elapsed(),
            start.elapsed(),
        );
        Ok(())
    }

    /// Waits until it is so, which it is in a moment when things go well.
    pub(super) async fn until<F>(&self, what: &str, mut ask: F)
    where
        F: AsyncFnMut() -> anyhow::Result<bool>,
    {
        let start = Instant::now();
        let mut told = ask().await;
        while !matches!(told, Ok(true)) {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}: {told:?}");
            tokio::time::sleep(LOOK).await;
            told = ask().await;
        }
    }

    /// How many changes have their number.
    pub(super) async fn numbered(&self) -> anyhow::Result<i64> {
        let mut numbered = 0;
        for (source, _) in SOURCES {
            let heads = "select coalesce(sum(head), 0)::bigint from outbox.stream";
            let source = self.mesh.database(source).await?;
            numbered += source.query_one(heads, &[]).await?.get::<_, i64>(0);
        }
        Ok(numbered)
    }

    /// How many of those a consumer has reached.
    pub(super) async fn reached(&self, consumer: &str) -> anyhow::Result<i64> {
        let reached = "select coalesce(sum(pn), 0)::bigint from inbox.position";
        let consumer = self.mesh.database(consumer).await?;
        Ok(consumer.query_one(reached, &[]).await?.get(0))
    }

    /// How many changes a consumer's reader has fetched.
    pub(super) async fn fetched(&self, consumer: &str) -> anyhow::Result<i64> {
        let fetched = "select coalesce(sum(applied), 0)::bigint from inbox.journal
                        where via = 'feed'";
        let consumer = self.mesh.database(consumer).await?;
        Ok(consumer.query_one(fetched, &[]).await?.get(0))
    }

    /// Waits until a part runs again after it was ended.
    pub(super) async fn runs_again(&self, name: &str, ended: u32) -> anyhow::Result<u32> {
        self.until(&format!("{name} is ready again"), async || {
            let part = self.mesh.part(name)?;
            Ok(part.ready && part.pid.is_some_and(|pid| pid != ended))
        })
        .await;
        let part = self.mesh.part(name)?;
        ensure!(part.restarts > 0, "{name} was never started again");
        part.pid.with_context(|| format!("{name} does not run"))
    }

    async fn write(&self, door: Door) -> anyhow::Result<Tally> {
        let topics = &["catalog.products", "pricing.prices", "warehouse.stock"];
        let writers = Writers {
            url: self.url.clone(),
            topics,
            clients: 8,
            writes: WRITES,
            skus: SKUS,
            delete_percent: 8,
            seed: 5,
        };
        if door == Door::Gateway {
            return writers.run(self.mesh.http()).await;
        }
        let mut all = JoinSet::new();
        for (n, (source, _)) in SOURCES.iter().enumerate() {
            let topics = topics.get(n..=n).context("a topic for each source")?;
            let (url, writes) = (self.mesh.service(source)?, WRITES / 3);
            let writers = Writers { url, topics, clients: 3, writes, ..writers.clone() };
            let http = self.mesh.http().clone();
            all.spawn(async move { writers.run(&http).await });
        }
        let mut tally = Tally::default();
        while let Some(written) = all.join_next().await {
            tally.add(&written??);
        }
        Ok(tally)
    }

    /// Writes of every kind, and waits until each is in the search and fresh in the view.
    async fn probe(&self) -> anyhow::Result<()> {
        let records = [
            (
                format!("products/{PROBE}"),
                json!({ "name": PROBE, "categories": [],
                                                  "attributes": {} }),
            ),
            (format!("prices/{PROBE}"), json!({ "currency": "USD", "amount": "4.20" })),
            (format!("stock/{PROBE}/store-0"), json!({ "on_hand": 42 })),
        ];
        for (path, body) in &records {
            self.until(&format!("{path} is written"), async || {
                let put = self.mesh.http().put(format!("{}/api/v1/{path}", self.url)).json(body);
                Ok(put.send().await?.status().is_success())
            })
            .await;
        }
        self.until("what is written after the fault is seen", async || {
            let view = format!("/api/v1/views/products/{PROBE}");
            let view = self.mesh.get(&self.url, &view).await?;
            let seen = self.mesh.get(&self.url, &format!("/api/v1/search?q={PROBE}")).await?;
            let item = &seen["items"][0];
            ensure!(view["freshness"]["stale"] == false, "{view}");
            ensure!(view["stock"]["available"] == 42, "{view}");
            ensure!(
                view["price"]["amount"] == "4.20" && view["product"]["name"] == PROBE,
                "{view}"
            );
            ensure!(item["sku"] == PROBE && item["price"]["amount"] == "4.20", "{seen}");
            ensure!(item["availability"]["available"] == 42, "{seen}");
            Ok(true)
        })
        .await;
        Ok(())
    }

    /// Everything that a fault may not change.
    async fn all_is_well(&self) -> anyhow::Result<()> {
        for (topic, consumer) in COPIES {
            let what = || format!("{consumer}, {topic}");
            let mut ends = Ends::open(&self.mesh, topic, consumer).await?;
            ends.settle(PATIENCE).await;
            ends.equal().await.with_context(what)?;
            let books = ends.books().await.with_context(what)?;
            ensure!(books.cases == 0 && books.numbers > 0, "{}: {books:?}", what());
        }
        for (topic, consumer) in WITH_ROWS {
            Ends::open(&self.mesh, topic, consumer).await?.rows_equal().await?;
        }
        for watch in &self.watches {
            watch.check(&self.mesh).await?;
        }
        outside::answers_are_the_masters(&self.mesh, &self.url).await?;
        for consumer in CONSUMERS {
            let database = self.mesh.database(consumer).await?;
            let dirty = database.query_one("select count(*) from inbox.dirty", &[]).await?;
            ensure!(dirty.get::<_, i64>(0) == 0, "{consumer} has dirty keys left");
        }
        Ok(())
    }
}
