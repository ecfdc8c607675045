//! A copy is loaded anew while writes flow and its process dies; another past is noticed.

use std::time::Duration;

use anyhow::Context as _;
use harness::{Backup, Ends, Mesh, Writers};
use testkit::within;
use tokio_postgres::Client;

const SEED: u64 = 7_264;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_copy_is_equal_after_three_kills_while_writes_flow() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty", "--set", "search-indexer.PAGE_LIMIT=20"])?;
    let url = mesh.url()?;
    let writers = |seed, writes| Writers {
        url: url.clone(),
        topics: &["catalog.products"],
        clients: 4,
        writes,
        skus: 1_500,
        delete_percent: 10,
        seed,
    };
    writers(SEED, 3_000).run(mesh.http()).await?;
    let mut ends = ends(&mesh).await?;
    ends.settle(Duration::from_secs(60)).await;
    ends.equal().await?;

    empty(&ends.copy).await?;
    mesh.kill("search-indexer")?;
    let http = mesh.http().clone();
    let more = writers(SEED + 1, 4_000);
    let (wrote, killed) = tokio::join!(more.run(&http), kill_at_three_pages(&mesh, &ends.copy));
    let rebuild = killed?;
    wrote?;

    ends.settle(Duration::from_secs(120)).await;
    let equal = ends.equal().await?;
    assert_eq!(ends.rows_equal().await?, equal.live);
    let books = ends.books().await?;
    let topic = Progress::read(&ends.copy).await?;
    assert_eq!(topic.rebuild, rebuild, "the rebuild was begun again instead of resumed");
    assert!(books.numbers > 0, "no write flowed while the copy was loaded: {books:?}");
    let found = mesh.get(&url, "/api/v1/search?limit=1").await?;
    assert_eq!(found["total"].as_u64(), u64::try_from(equal.live).ok(), "{found}");
    println!("rebuilt with three kills: {equal:?}; {books:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_restored_from_a_backup_is_noticed_as_diverged() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty"])?;
    let url = mesh.url()?;
    let writers = |seed, writes| Writers {
        url: url.clone(),
        topics: &["catalog.products"],
        clients: 4,
        writes,
        skus: 60,
        delete_percent: 10,
        seed,
    };
    writers(SEED, 200).run(mesh.http()).await?;
    let backup = Backup::take(&mesh, "catalog").await?;
    writers(SEED + 1, 150).run(mesh.http()).await?;
    let before = ends(&mesh).await?;
    before.settle(Duration::from_secs(60)).await;
    let equal = before.equal().await?;
    let digests = digests(&before.copy).await?;
    drop(before);

    backup.restore(&mesh).await?;
    writers(SEED + 2, 400).run(mesh.http()).await?;
    let mut after = ends(&mesh).await?;
    within(Duration::from_secs(30), "the copy says that it has diverged", async || {
        Ok(Progress::read(&after.copy).await?.phase == "diverged")
    })
    .await;
    assert!(after.equal().await.is_err(), "the fault did not bite: both ends are still equal");
    assert_eq!(self::digests(&after.copy).await?, digests, "a diverged copy applied something");
    assert!(!mesh.part("search-indexer")?.ready, "a service with a diverged copy is not ready");

    let history = Progress::read(&after.copy).await?.history;
    let indexer = mesh.part("search-indexer")?.url.context("search-indexer has no address")?;
    mesh.post_as_app(&format!("{indexer}/sync/rebuild/catalog.products")).await?;
    after.settle(Duration::from_secs(120)).await;
    within(Duration::from_secs(30), "the copy serves again", async || {
        Ok(Progress::read(&after.copy).await?.phase == "serving")
    })
    .await;
    let again = after.equal().await?;
    assert_eq!(after.rows_equal().await?, again.live);
    after.books().await?;
    assert!(Progress::read(&after.copy).await?.history > history, "the history was not raised");
    println!("restored source: {equal:?} before, {again:?} after the rebuild");
    Ok(())
}

async fn ends(mesh: &Mesh) -> anyhow::Result<Ends> {
    Ends::open(mesh, "catalog.products", "search-indexer").await
}

/// What the copy says of its rebuild.
#[derive(Debug)]
struct Progress {
    phase: String,
    history: i64,
    rebuild: i64,
    cursor: Option<String>,
}

impl Progress {
    async fn read(copy: &Client) -> anyhow::Result<Self> {
        let topic = "select phase, history, rebuild, cursor from inbox.topic
                      where topic = 'catalog.products'";
        let row = copy.query_opt(topic, &[]).await?.context("the topic is not followed yet")?;
        Ok(Self {
            phase: row.get("phase"),
            history: row.get("history"),
            rebuild: row.get("rebuild"),
            cursor: row.get("cursor"),
        })
    }
}

/// Forgets everything that the consumer holds, but not who it is.
async fn empty(copy: &Client) -> anyhow::Result<()> {
    let everything = "truncate inbox.topic, inbox.position, inbox.position_archive, inbox.versions,
                      inbox.cases, inbox.journal, inbox.dirty, inbox.unreadable, inbox.attempt,
                      search.product, search.category, search.price, search.stock,
                      search.waiting";
    Ok(copy.batch_execute(everything).await?)
}

/// Kills the consumer at three different pages of one rebuild; answers the rebuild's number.
async fn kill_at_three_pages(mesh: &Mesh, copy: &Client) -> anyhow::Result<i64> {
    let mut last: Option<Progress> = None;
    for kill in 1..=3 {
        let cursor = last.as_ref().and_then(|progress| progress.cursor.clone());
        within(Duration::from_secs(30), &format!("page {kill} to kill at"), async || {
            let progress = Progress::read(copy).await?;
            anyhow::ensure!(progress.phase != "serving", "the rebuild ended before kill {kill}");
            Ok(progress.phase == "loading" && progress.cursor > cursor)
        })
        .await;
        let killed = mesh.kill("search-indexer")?;
        // What it had sent may still be committed; this is read after its successor has begun.
        within(Duration::from_secs(30), "the consumer runs again", async || {
            Ok(mesh.part("search-indexer")?.pid.is_some_and(|pid| pid != killed))
        })
        .await;
        let now = Progress::read(copy).await?;
        assert_eq!(now.phase, "loading", "kill {kill} came too late: {now:?}");
        if let Some(before) = last {
            assert_eq!(now.rebuild, before.rebuild, "kill {kill}: begun again, not resumed");
        }
        last = Some(now);
    }
    Ok(last.context("three kills")?.rebuild)
}

/// Everything that the copy holds, as one number per key.
async fn digests(copy: &Client) -> anyhow::Result<Vec<(String, i64, Option<Vec<u8>>)>> {
    let held = "select key, version, digest from inbox.versions
                 where topic = 'catalog.products' order by key";
    let rows = copy.query(held, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}
