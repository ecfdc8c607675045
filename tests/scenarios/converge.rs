//! Many writers at once to three owners; afterwards owners and copies hold the same, and the books
//! balance.

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::{Books, Ends, Mesh, Tally, Writers};
use testkit::within;

const WRITERS: Writers = Writers {
    url: String::new(),
    topics: &["catalog.products", "pricing.prices", "warehouse.stock"],
    clients: 16,
    writes: 10_000,
    skus: 1_000,
    delete_percent: 10,
    seed: 20_261_121,
};

/// Who copies what.
const COPIES: &[(&str, &[&str])] = &[
    ("catalog.products", &["search-indexer", "gateway", "pricing", "warehouse"]),
    ("pricing.prices", &["search-indexer", "gateway"]),
    ("warehouse.stock", &["search-indexer", "gateway"]),
];

/// Covers: A6.
#[tokio::test]
async fn copies_converge_through_sidecars() -> anyhow::Result<()> {
    let pushed = converge("dapr").await?;
    assert!(pushed > 0, "the broker delivered nothing");
    Ok(())
}

#[tokio::test]
async fn copies_converge_over_redis_streams() -> anyhow::Result<()> {
    let pushed = converge("redis").await?;
    assert!(pushed > 0, "the broker delivered nothing");
    Ok(())
}

#[tokio::test]
async fn copies_converge_without_a_broker() -> anyhow::Result<()> {
    let pushed = converge("none").await?;
    assert_eq!(pushed, 0, "there is a broker after all");
    Ok(())
}

/// Answers how many batches came by the broker.
async fn converge(transport: &str) -> anyhow::Result<i64> {
    let mesh = Mesh::up(&["--empty", "--transport", transport])?;
    let status = mesh.status()?;
    assert_eq!(status.transport, transport);
    let start = Instant::now();
    let writers = Writers { url: status.url.clone(), ..WRITERS };
    let tally = writers.run(mesh.http()).await?;
    let wrote = start.elapsed();
    assert_eq!(tally.total(), WRITERS.writes);

    let mut pushed = 0;
    for (topic, consumers) in COPIES {
        for consumer in *consumers {
            let mut ends = Ends::open(&mesh, topic, consumer).await?;
            ends.settle(Duration::from_secs(240)).await;
            pushed += check(&mut ends, &tally).await?.pushed;
        }
    }
    let settled = start.elapsed();
    own_rows_are_equal(&mesh).await?;

    let products = tally.of("catalog.products").live();
    let found = mesh.get(&status.url, "/api/v1/search?limit=1").await?;
    assert_eq!(found["total"].as_u64(), Some(u64::from(products)), "{found}");
    println!(
        "{transport}: {} writes of seed {} in {wrote:.1?}, settled after {settled:.1?}; \
         {pushed} batches pushed; {tally:?}",
        tally.total(),
        WRITERS.seed,
    );
    Ok(pushed)
}

/// Keys, versions, digests and books of one copy, held against what the owner answered.
async fn check(ends: &mut Ends, tally: &Tally) -> anyhow::Result<Books> {
    let equal = ends.equal().await?;
    let books = ends.books().await?;
    let answers = tally.of(ends.topic);
    ensure!(books.cases == 0, "{books:?}");
    ensure!(books.numbers == i64::from(answers.changes()), "{}: {books:?} {tally:?}", ends.topic);
    ensure!(equal.live == usize::try_from(answers.live())?, "{}: {equal:?}", ends.topic);
    Ok(books)
}

/// What the services made of their copies, held against the owners' payloads.
async fn own_rows_are_equal(mesh: &Mesh) -> anyhow::Result<()> {
    for topic in ["catalog.products", "pricing.prices", "warehouse.stock"] {
        Ends::open(mesh, topic, "search-indexer").await?.rows_equal().await?;
    }
    for consumer in ["pricing", "warehouse"] {
        Ends::open(mesh, "catalog.products", consumer).await?.rows_equal().await?;
    }
    let gateway = mesh.database("gateway").await?;
    within(Duration::from_secs(5), "the gateway has no dirty key left", async || {
        let dirty = gateway.query_one("select count(*) from inbox.dirty", &[]).await?;
        Ok(dirty.get::<_, i64>(0) == 0)
    })
    .await;
    Ok(())
}
