//! A service that can reach nobody, and that nobody can reach.

use std::time::Duration;

use anyhow::ensure;
use harness::Mesh;
use serde_json::json;
use testkit::{Fault, FaultProxy};
use tokio::time::{Instant, sleep, timeout_at};

use super::drill::{Door, Drill};

const CUT_FOR: Duration = Duration::from_secs(20);
/// All that the gateway asks, and its sidecar, which asks it.
const WAYS: [(&str, &str); 9] = [
    ("gateway", "postgres"),
    ("gateway", "cache"),
    ("gateway", "catalog"),
    ("gateway", "pricing"),
    ("gateway", "warehouse"),
    ("gateway", "search-indexer"),
    ("gateway", "gateway-sidecar.http"),
    ("gateway", "gateway-sidecar.grpc"),
    ("gateway-sidecar", "gateway"),
];

/// Ways that carry nothing unless somebody asks for what lies behind them.
const ASKED_AT_TIMES: [&str; 6] = [
    "catalog",
    "pricing",
    "warehouse",
    "search-indexer",
    "gateway-sidecar.http",
    "gateway-sidecar.grpc",
];
/// A product that no writer touches.
const PAGE: &str = "PAGE-1";

/// Nothing is closed and nobody is told: packets just do not arrive. Only the door stays open, so
/// that one can see what the gateway answers meanwhile; owners are written to at their own doors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_cut_off_for_twenty_seconds_calls_nothing_fresh_and_catches_up()
-> anyhow::Result<()> {
    let mesh = Mesh::new()?;
    let mut proxies = Vec::new();
    let mut ways = Vec::new();
    for (from, to) in WAYS {
        let proxy = FaultProxy::start(mesh.place_of(to)).await?;
        ways.push(format!("{from}:{to}={}", proxy.address().port()));
        proxies.push(proxy);
    }
    let drill = Drill::begin(mesh, &ways).await?;
    let fault = async |drill: &Drill| {
        is_called_fresh(drill).await?;
        let stands = drill.reached("gateway").await?;
        proxies.iter().for_each(|proxy| proxy.set(Fault::HalfOpen));
        let numbered = drill.numbered().await?;
        let until = Instant::now() + CUT_FOR;
        // What was known a moment ago may still be called fresh for a second.
        sleep(Duration::from_secs(2)).await;
        let mut told = 0;
        while let Ok(answered) = timeout_at(until, calls_nothing_fresh(drill)).await {
            answered?;
            told += 1;
            sleep(Duration::from_millis(500)).await;
        }
        ensure!(told > 0, "nobody was answered within {CUT_FOR:?}");
        let missed = drill.numbered().await? - drill.reached("gateway").await?;
        ensure!(missed > 0, "it missed nothing: {stands} before, {numbered} numbered");
        proxies.iter().for_each(|proxy| proxy.set(Fault::Nothing));
        let mut held = 0;
        for ((from, to), proxy) in WAYS.iter().zip(&proxies) {
            let bites = proxy.bites();
            let is_used = !ASKED_AT_TIMES.contains(to);
            ensure!(!is_used || bites.held > 0, "nothing was held from {from} to {to}: {bites:?}");
            held += bites.held;
        }
        Ok(format!("{held} pieces were held, {missed} changes missed; {told} honest answers"))
    };
    drill.survives("gateway's network cut for 20 s", Door::Owners, fault).await
}

/// The page that is asked for meanwhile is known and fresh before.
async fn is_called_fresh(drill: &Drill) -> anyhow::Result<()> {
    let product = json!({ "name": "Known before", "categories": [], "attributes": {} });
    let path = format!("/api/v1/products/{PAGE}");
    let put = drill.mesh.http().put(format!("{}{path}", drill.url)).json(&product);
    put.send().await?.error_for_status()?;
    drill
        .until("the page is fresh before the cut", async || {
            let view =
                drill.mesh.get(&drill.url, &format!("/api/v1/views/products/{PAGE}")).await?;
            Ok(view["freshness"]["stale"] == false && view["product"]["name"] == "Known before")
        })
        .await;
    Ok(())
}

/// Asks for a page and waits for the answer; whatever it is, it is not called fresh.
async fn calls_nothing_fresh(drill: &Drill) -> anyhow::Result<()> {
    let page = format!("{}/api/v1/views/products/{PAGE}", drill.url);
    let answer = drill.mesh.http().get(page).timeout(CUT_FOR).send().await?;
    if answer.status().is_success() {
        let view: serde_json::Value = answer.json().await?;
        ensure!(view["freshness"]["stale"] == true, "{view}");
    } else {
        ensure!(answer.status().is_server_error(), "{answer:?}");
    }
    Ok(())
}
