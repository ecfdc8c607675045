//! Many writers at once; afterwards owner and copy hold the same, and the books balance.

use std::time::{Duration, Instant};

use harness::{Ends, Mesh, Writers};

const WRITERS: Writers = Writers {
    url: String::new(),
    clients: 16,
    writes: 10_000,
    skus: 1_000,
    delete_percent: 10,
    seed: 20_261_121,
};

#[tokio::test]
async fn copies_converge_through_the_broker() -> anyhow::Result<()> {
    let books = converge("dapr").await?;
    assert!(books.pushed > 0, "the broker delivered nothing: {books:?}");
    Ok(())
}

#[tokio::test]
async fn copies_converge_without_a_broker() -> anyhow::Result<()> {
    let books = converge("none").await?;
    assert_eq!(books.pushed, 0, "there is a broker after all: {books:?}");
    Ok(())
}

async fn converge(transport: &str) -> anyhow::Result<harness::Books> {
    let mesh = Mesh::up(&["--empty", "--transport", transport])?;
    let status = mesh.status()?;
    assert_eq!(status.transport, transport);
    let start = Instant::now();
    let writers = Writers { url: status.url.clone(), ..WRITERS };
    let tally = writers.run(mesh.http()).await?;
    let wrote = start.elapsed();
    assert_eq!(tally.total(), WRITERS.writes);

    let mut ends = Ends {
        source: mesh.database("catalog").await?,
        copy: mesh.database("search-indexer").await?,
        topic: "catalog.products",
    };
    ends.settle(Duration::from_secs(60)).await;
    let settled = start.elapsed();
    let equal = ends.equal().await?;
    assert_eq!(ends.products_equal().await?, equal.live);
    let books = ends.books().await?;
    assert_eq!(books.cases, 0, "{books:?}");
    let changes = tally.created + tally.replaced + tally.deleted;
    assert_eq!(books.numbers, i64::from(changes), "{tally:?}");
    let created_less_deleted = tally.created - tally.deleted;
    assert_eq!(equal.live, usize::try_from(created_less_deleted)?, "{tally:?}");

    let found = mesh.get(&status.url, "/api/v1/search?limit=1").await?;
    assert_eq!(found["total"].as_u64(), Some(u64::from(created_less_deleted)), "{found}");
    println!(
        "{transport}: {} writes of seed {} in {wrote:.1?}, settled after {settled:.1?}; \
         {equal:?}; {books:?}",
        tally.total(),
        WRITERS.seed,
    );
    Ok(books)
}
