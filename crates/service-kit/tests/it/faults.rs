//! Slow callers in thousands: others are served as if they were not there.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::routing::{get, put};
use service_kit::{Json, Service};
use testkit::{Manner, Slow, allow_connections};

use crate::world::{Running, config};

const SLOW: usize = 2_000;
/// Below this, what is measured is the machine.
const FLOOR: Duration = Duration::from_millis(150);
const REQUESTS: usize = 300;
/// Other work on the machine may come and go meanwhile; what the fault does is there each time.
const ROUNDS: usize = 3;

#[derive(serde::Deserialize, validator::Validate)]
struct Body {
    name: String,
}

async fn started() -> Running {
    let routes = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/echo", put(|body: Json<Body>| async move { body.value.name }));
    let service = Service::start("sample", &config(&[])).expect("sound settings");
    Running::start(service, routes).await
}

/// What 99 of 100 healthy requests took at most; each third comes over a connection of its own.
async fn p99(service: &Running) -> anyhow::Result<Duration> {
    let kept = reqwest::Client::new();
    let mut taken = Vec::with_capacity(REQUESTS);
    for number in 0..REQUESTS {
        let client = if number % 3 == 0 { reqwest::Client::new() } else { kept.clone() };
        let request = if number % 2 == 0 {
            client.get(service.url("/hello"))
        } else {
            let request = client.put(service.url("/echo")).body("{\"name\":\"me\"}");
            request.header("content-type", "application/json")
        };
        let start = Instant::now();
        let answer = request.timeout(Duration::from_secs(20)).send().await?;
        taken.push(start.elapsed());
        anyhow::ensure!(answer.status() == 200, "request {number} got {}", answer.status());
    }
    taken.sort_unstable();
    taken.get(REQUESTS * 99 / 100).copied().context("something was measured")
}

/// Files that this process has open: two for each connection to itself.
fn open_files() -> anyhow::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_slow_connections_leave_the_others_as_quick_as_before() -> anyhow::Result<()> {
    allow_connections(2 * SLOW as u64)?;
    let service = started().await;
    let manners = [Manner::Silent, Manner::Head, Manner::Body("/echo".to_owned())];
    p99(&service).await?;
    let mut is_quick = false;
    for _ in 0..ROUNDS {
        let files = open_files()?;
        let before = p99(&service).await?;
        let slow = Slow::open(service.address, SLOW, &manners).await?;
        let held = open_files()? - files;
        // Not only connected: accepted.
        assert!(held > 2 * (SLOW - SLOW / 5), "{held} files for {} connections", slow.count());
        let beside = p99(&service).await?;
        // Beyond the first refusals, since bodies may pause for 5 s and heads for 10.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let later = p99(&service).await?;
        assert!(slow.count() > SLOW - SLOW / 5, "only {} are open", slow.count());
        assert!(slow.opened() > SLOW, "none was ever closed");
        println!(
            "healthy P99 {before:?} alone, {beside:?} and {later:?} beside {} slow connections of \
             {} opened",
            slow.count(),
            slow.opened(),
        );
        drop(slow);
        let after = p99(&service).await?;
        is_quick = beside.max(later) <= (before.max(after) * 2).max(FLOOR);
        if is_quick {
            break;
        }
    }
    assert!(is_quick, "in {ROUNDS} rounds of {ROUNDS} healthy requests were slowed down");
    Ok(())
}
