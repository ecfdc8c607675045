//! The search indexer as the consumer: from a written product until a search finds it.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use contracts::Contract;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use testkit::Database;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};
use tower::ServiceExt as _;

use super::load::Load;
use super::writing::Writer;
use crate::clock::Moment;
use crate::consumer::SEAT;
use crate::figures::Figures;
use crate::lane::{Part, Syncline};
use crate::measure::Spread;
use crate::meter::Meter;
use crate::process::{Process, command};
use crate::source::pool;

/// Between two products that are looked for.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two searches for one.
const LOOK: Duration = Duration::from_millis(10);
/// How long one is looked for.
const FIND_LIMIT: Duration = Duration::from_secs(10);
/// How long the index may take to be filled before.
const FILL_LIMIT: Duration = Duration::from_secs(180);
/// So many looks after each other the index is asked how it is.
const LOOKS_PER_STATUS: u32 = 10;

/// What the indexer also hears of; their sources are there and rest.
const OTHERS: [(&str, &str); 2] = [
    ("pricing", include_str!("../../../../services/pricing/contracts/price.yaml")),
    ("warehouse", include_str!("../../../../services/warehouse/contracts/stock.yaml")),
];

/// What a search answers, as far as it matters here.
#[derive(Deserialize)]
struct Found {
    total: u64,
}

/// What the indexer says of its index.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Index {
    commits: u64,
    segments: u32,
}

#[derive(Deserialize)]
struct Status {
    index: Index,
}

/// Writes products at a rate, and looks for some more by a word that each alone has.
pub async fn found(lane: &mut Syncline, load: &Load) -> anyhow::Result<Figures> {
    lane.place().flush().await?;
    let resting = [resting(OTHERS[0]).await?, resting(OTHERS[1]).await?];
    let relay = lane.relay_of(&resting).await?;
    let database = Database::create("bench-search").await?;
    let indexer = start(lane, &relay, &database).await?;
    let routes = catalog::routes(pool(&lane.source.url(), 2)?);
    let pids = indexer.process.pid().map(|pid| ("search-indexer", pid));
    // What waits longest is indexed first: once this is found, all products are.
    let first = look(routes.clone(), indexer.port, (0, FILL_LIMIT)).await?;
    anyhow::ensure!(first.is_some(), "the index is not filled after {FILL_LIMIT:?}");
    let meter = Meter::start(lane.place(), lane.databases(), pids.into_iter().collect()).await?;
    let writer = Writer::of(lane, load).await?;
    let (before, began) = (index(&indexer).await?, Instant::now());
    let (mut looks, mut segments, mut probes) = (JoinSet::new(), before.segments, 0_u32);
    let written = {
        let loading = writer.go();
        tokio::pin!(loading);
        let mut pace = interval(PAUSE);
        loop {
            tokio::select! {
                written = &mut loading => break written?,
                _ = pace.tick() => {}
            }
            // Each at its time, however long those before it are looked for.
            probes += 1;
            looks.spawn(look(routes.clone(), indexer.port, (probes, FIND_LIMIT)));
            if probes.is_multiple_of(LOOKS_PER_STATUS) {
                segments = segments.max(index(&indexer).await?.segments);
            }
        }
    };
    let took = began.elapsed().as_secs_f64();
    let used = meter.stop().await?;
    let after = index(&indexer).await?;
    let (mut spread, mut lost) = (Spread::default(), 0);
    while let Some(looked) = looks.join_next().await {
        match looked?? {
            Some((answered, found)) => spread.note(answered, found)?,
            None => {
                lost += 1;
                spread.note(Moment(0), Moment(0).plus(FIND_LIMIT))?;
            }
        }
    }
    let changes = written.count();
    lane.next += changes;
    let mut figures = Figures { offered: load.rate, changes, lost, ..Figures::default() };
    used.add(&mut figures);
    figures.commit_to_found = spread.latency();
    let commits = u32::try_from(after.commits.saturating_sub(before.commits));
    let commits = commits.map_or(0.0, f64::from) / took;
    figures.others.insert("commits_per_s".to_owned(), commits);
    let segments = segments.max(after.segments);
    figures.others.insert("segments".to_owned(), f64::from(segments));
    indexer.stop().await?;
    relay.stop().await?;
    Ok(figures)
}

/// A source that has its topic and no change.
async fn resting((name, contract): (&str, &str)) -> anyhow::Result<(String, Database)> {
    let database = Database::create("bench-resting").await?;
    let mut client = database.connect().await?;
    service_kit::migrate(&mut client, "outbox", outbox::MIGRATIONS).await?;
    outbox::register(&client, &Contract::parse(contract)?).await?;
    Ok((name.to_owned(), database))
}

async fn start(lane: &Syncline, relay: &Part, database: &Database) -> anyhow::Result<Part> {
    let program = lane.place().program("search-indexer")?;
    let folder = lane.folder().join("index");
    let _ = std::fs::remove_dir_all(&folder); // there is none before the first round
    let mut migrate = command(&program);
    migrate.arg("migrate").env("DATABASE_URL", database.url()).env("INDEX_DIR", &folder);
    migrate.env("APP_API_TOKEN", "none").env("TRANSPORT", "none");
    Process::start("search-migrate", migrate, lane.folder())?.finish().await?;
    let mut command = command(&program);
    command.env("DATABASE_URL", database.url()).env("INDEX_DIR", &folder);
    // The lane's own consumer is known to the source by the name of its seat.
    command.env("CONSUMER", "bench-search");
    lane.service("search-indexer", SEAT, command, relay).await
}

async fn index(indexer: &Part) -> anyhow::Result<Index> {
    let url = format!("http://127.0.0.1:{}/sync/status", indexer.port);
    Ok(reqwest::get(url).await?.error_for_status()?.json::<Status>().await?.index)
}

/// Writes a product with a word of its own; answers when the owner had answered and when it was
/// found, none if it was not.
async fn look(
    routes: Router,
    indexer: u16,
    (number, limit): (u32, Duration),
) -> anyhow::Result<Option<(Moment, Moment)>> {
    let word = format!("probe{number}x{}", Moment::now().0);
    let body = format!(
        r#"{{"name":"{word}","categories":["bench"],"attributes":{{"seq":0,"text":"{word}"}}}}"#
    );
    let request = http::Request::put(format!("/api/v1/products/PROBE-{number}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body))?;
    let answer = routes.oneshot(request).await?;
    anyhow::ensure!(answer.status().is_success(), "catalog answered {}", answer.status());
    let answered = Moment::now();
    let url = format!("http://127.0.0.1:{indexer}/api/v1/search?q={word}");
    let client = reqwest::Client::new();
    while Moment::now().since(answered) < limit {
        let found: Found = client.get(&url).send().await?.error_for_status()?.json().await?;
        if found.total > 0 {
            return Ok(Some((answered, Moment::now())));
        }
        sleep(LOOK).await;
    }
    Ok(None)
}
