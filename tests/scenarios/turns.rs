//! What changes by itself, what is missing for a while, and what is thrown away.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use harness::Mesh;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::within;

use crate::shop;

const SKU: &str = "TURN-1";
/// What takes a moment at rest, on a machine that is not.
const SOON: Duration = Duration::from_secs(5);
/// For what must first start again.
const RECOVERY: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_promotion_turns_by_itself_also_while_all_services_are_down() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty"])?;
    let url = mesh.url()?;
    shop::product(&mesh, &url, SKU).await?;
    shop::price(&mesh, &url, SKU, "100.00").await?;
    let starts_at = Utc::now() + TimeDelta::seconds(3);
    promote(&mesh, &url, starts_at, Utc::now() + TimeDelta::hours(1)).await?;
    effective(&mesh, &url, "100.00", RECOVERY).await;

    mesh.down()?;
    let until_start = (starts_at - Utc::now()).to_std().unwrap_or_default();
    tokio::time::sleep(until_start).await;
    let restarted = Utc::now();
    mesh.start(&["--empty"])?;
    let url = mesh.url()?;
    effective(&mesh, &url, "80.00", RECOVERY).await;
    let started = last_change(&mesh).await?;
    ensure!(started > restarted, "the start at {starts_at} was published at {started} already");

    let ends_at = Utc::now() + TimeDelta::seconds(3);
    promote(&mesh, &url, starts_at, ends_at).await?;
    effective(&mesh, &url, "80.00", SOON).await;
    let until_end = (ends_at - Utc::now()).to_std().context("the end came too early")?;
    tokio::time::sleep(until_end).await;
    effective(&mesh, &url, "100.00", SOON).await;
    let late = last_change(&mesh).await? - ends_at;
    ensure!((TimeDelta::zero()..TimeDelta::seconds(1)).contains(&late), "published {late} late");
    println!("the end was published {} ms after its moment", late.num_milliseconds());
    Ok(())
}

#[tokio::test]
async fn a_reservation_that_expires_is_available_again() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty"])?;
    let url = mesh.url()?;
    shop::product(&mesh, &url, SKU).await?;
    shop::put(&mesh, &url, &format!("stock/{SKU}/store-1"), &json!({ "on_hand": 1 })).await?;
    available(&mesh, &url, 1, RECOVERY).await;
    let reservation =
        json!({ "sku": SKU, "location": "store-1", "quantity": 1, "expires_in_seconds": 3 });
    let reserve = || mesh.http().post(format!("{url}/api/v1/reservations")).json(&reservation);
    ensure!(reserve().send().await?.status() == StatusCode::CREATED, "the last one is reserved");
    let again = reserve().send().await?.status();
    ensure!(again == StatusCode::CONFLICT, "the last one was reserved twice: {again}");
    available(&mesh, &url, 0, SOON).await;
    available(&mesh, &url, 1, Duration::from_secs(3) + SOON).await;
    Ok(())
}

#[tokio::test]
async fn a_price_waits_for_its_product() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty"])?;
    let url = mesh.url()?;
    let waits_for = |answer: &reqwest::Response| {
        let header = answer.headers().get("syncline-waits-for")?;
        header.to_str().ok().map(str::to_owned)
    };
    let early = shop::price(&mesh, &url, SKU, "12.00").await?;
    ensure!(waits_for(&early) == Some(format!("catalog.products/{SKU}")), "{early:?}");
    let (status, view) = shop::view(&mesh, &url, SKU).await?;
    ensure!(status == StatusCode::OK && view["product"].is_null(), "{status} {view}");
    ensure!(view["price"]["amount"] == "12.00", "{view}");
    ensure!(shop::found(&mesh, &url, SKU).await?.is_none(), "found without a product");

    shop::product(&mesh, &url, SKU).await?;
    within(SOON, "the product is found with the price that waited", async || {
        let found = shop::found(&mesh, &url, SKU).await?.context("not found")?;
        Ok(found["price"]["amount"] == "12.00")
    })
    .await;
    within(SOON, "nothing waits any more", async || {
        let answer = mesh.http().get(format!("{url}/api/v1/prices/{SKU}")).send().await?;
        Ok(answer.status().is_success() && waits_for(&answer).is_none())
    })
    .await;
    Ok(())
}

/// Covers: F11, K3.
#[tokio::test]
async fn a_view_is_stale_without_an_owner_and_refused_without_a_copy() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty"])?;
    let url = mesh.url()?;
    for sku in [SKU, "NEVER-SEEN"] {
        shop::product(&mesh, &url, sku).await?;
        shop::price(&mesh, &url, sku, "12.00").await?;
    }
    within(RECOVERY, "the view is served from the cache", async || is_hit(&mesh, &url).await).await;

    let without = mesh.without("pricing")?;
    shop::named(&mesh, &url, SKU, "Renamed").await?;
    within(SOON, "the new name stands beside the old price, flagged", async || {
        let (status, view) = shop::view(&mesh, &url, SKU).await?;
        ensure!(status == StatusCode::OK && view["price"]["amount"] == "12.00", "{view}");
        let flagged = view["freshness"]["stale"] == true;
        ensure!(flagged || view["product"]["name"] != "Renamed", "called fresh: {view}");
        let reason = view["freshness"]["reason"].as_str().unwrap_or_default();
        Ok(view["product"]["name"] == "Renamed" && flagged && reason.contains("pricing"))
    })
    .await;
    let (status, problem) = shop::view(&mesh, &url, "NEVER-SEEN").await?;
    ensure!(status == StatusCode::SERVICE_UNAVAILABLE, "{status} {problem}");
    ensure!(problem["detail"].as_str().is_some_and(|said| said.contains("pric")), "{problem}");

    drop(without);
    for sku in [SKU, "NEVER-SEEN"] {
        within(RECOVERY, &format!("{sku} is fresh again"), async || {
            let (status, view) = shop::view(&mesh, &url, sku).await?;
            Ok(status == StatusCode::OK && view["freshness"]["stale"] == false)
        })
        .await;
    }
    Ok(())
}

/// Covers: A32.
#[tokio::test]
async fn a_cache_that_dies_is_missed_but_not_needed() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty"])?;
    let url = mesh.url()?;
    shop::product(&mesh, &url, SKU).await?;
    shop::price(&mesh, &url, SKU, "12.00").await?;
    within(RECOVERY, "the view is served from the cache", async || is_hit(&mesh, &url).await).await;
    let killed = mesh.kill("cache")?;
    let (status, view) = shop::view(&mesh, &url, SKU).await?;
    ensure!(status == StatusCode::OK, "{status} {view}");
    within(RECOVERY, "the cache runs again and serves", async || {
        let lives = mesh.part("cache")?.pid.is_some_and(|pid| pid != killed);
        Ok(lives && is_hit(&mesh, &url).await?)
    })
    .await;
    shop::price(&mesh, &url, SKU, "13.00").await?;
    within(SOON, "a new price is in the view", async || {
        let (_, view) = shop::view(&mesh, &url, SKU).await?;
        Ok(view["price"]["amount"] == "13.00" && view["freshness"]["stale"] == false)
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn an_index_that_was_deleted_is_written_anew() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty"])?;
    let url = mesh.url()?;
    shop::product(&mesh, &url, SKU).await?;
    shop::price(&mesh, &url, SKU, "12.00").await?;
    shop::put(&mesh, &url, &format!("stock/{SKU}/store-1"), &json!({ "on_hand": 7 })).await?;
    let whole = async || {
        let found = shop::found(&mesh, &url, SKU).await?.context("not found")?;
        let availability = &found["availability"]["available"];
        Ok(found["price"]["amount"] == "12.00" && *availability == 7)
    };
    within(RECOVERY, "the document is whole", whole).await;

    let without = mesh.without("search-indexer")?;
    let index = mesh.home().join("search-index");
    std::fs::remove_dir_all(&index).with_context(|| index.display().to_string())?;
    drop(without);
    within(RECOVERY, "the document is whole again", whole).await;
    ensure!(index.is_dir(), "the index is not where it was");
    Ok(())
}

/// A fifth off, in one period.
async fn promote(
    mesh: &Mesh,
    url: &str,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
) -> anyhow::Result<()> {
    let [starts_at, ends_at] =
        [starts_at, ends_at].map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
    let period = json!({ "starts_at": starts_at, "ends_at": ends_at });
    let promotion = json!({ "skus": [SKU], "percent_off": "20", "periods": [period] });
    shop::put(mesh, url, "promotions/turn", &promotion).await.map(drop)
}

/// Waits until view and search show this price.
async fn effective(mesh: &Mesh, url: &str, amount: &str, limit: Duration) {
    within(limit, &format!("view and search show {amount}"), async || {
        let (_, view) = shop::view(mesh, url, SKU).await?;
        let found = shop::found(mesh, url, SKU).await?.context("not found")?;
        Ok([&view, &found].iter().all(|one| one["price"]["effective"] == *amount))
    })
    .await;
}

/// Waits until view and search show this many.
async fn available(mesh: &Mesh, url: &str, count: u64, limit: Duration) {
    within(limit, &format!("{count} are available in view and search"), async || {
        let (_, view) = shop::view(mesh, url, SKU).await?;
        let found = shop::found(mesh, url, SKU).await?.context("not found")?;
        let in_stock = &found["availability"]["in_stock"];
        Ok(view["stock"]["available"] == count && *in_stock == (count > 0))
    })
    .await;
}

async fn is_hit(mesh: &Mesh, url: &str) -> anyhow::Result<bool> {
    let answer = mesh.http().get(format!("{url}/api/v1/views/products/{SKU}")).send().await?;
    let status = answer.headers().get("cache-status").context("no Cache-Status")?.to_str()?;
    let is_hit = status.contains("hit");
    let view: Value = answer.error_for_status()?.json().await?;
    Ok(is_hit && view["freshness"]["stale"] == false)
}

/// When the newest change of the price was written.
async fn last_change(mesh: &Mesh) -> anyhow::Result<DateTime<Utc>> {
    let pricing = mesh.database("pricing").await?;
    let newest = "select max(occurred_at) from outbox.change
                   where topic = 'pricing.prices' and key = $1";
    let at: SystemTime = pricing.query_one(newest, &[&SKU]).await?.get(0);
    Ok(at.into())
}
