//! One page of three masters while a trade flows: every answer agrees with its owners.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use harness::{COPIES, Ends, Mesh};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use testkit::within;

use crate::shop;
use crate::up::SAMPLE_PRODUCTS;

const SEED: u64 = 57;
/// How many products are looked at.
const SAMPLED: usize = 200;
const PRODUCT: &str = "MH01-XS-Black";
/// A product that nobody else trades.
const OURS: &str = "OURS-1";
const PROMISE: Duration = Duration::from_secs(1);
/// Of twenty new prices so many must keep the promise; a machine may stall now and then.
const KEPT: usize = 18;
/// For an answer that is asked for anew while others write.
const AGREE: Duration = Duration::from_secs(5);

/// Covers: A16, A18, A19, A20, K1, K2, O1, O12, P8.
#[tokio::test]
async fn every_page_agrees_with_its_masters_while_the_trade_flows() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--traffic", "20"])?;
    let url = mesh.url()?;
    within(Duration::from_secs(60), "the whole sample is indexed", async || {
        let all = mesh.get(&url, "/api/v1/search?limit=1").await?;
        Ok(all["total"].as_u64() == Some(SAMPLE_PRODUCTS))
    })
    .await;
    the_view_shows_all_parts(&mesh, &url).await?;
    let before = books(&mesh).await?;
    let mut random = StdRng::seed_from_u64(SEED);
    let skus = skus(&mesh).await?;
    for sku in skus.choose_multiple(&mut random, SAMPLED) {
        within(AGREE, &format!("view and search agree about {sku}"), async || {
            agree(&mesh, &url, sku).await.map(|()| true)
        })
        .await;
    }
    let after = books(&mesh).await?;
    for topic in ["pricing.prices", "warehouse.stock"] {
        ensure!(after[topic] > before[topic], "nobody traded {topic}: {before:?}, {after:?}");
    }
    println!("{SAMPLED} products agree; numbers taken before {before:?} and after {after:?}");
    new_prices_show_within_a_second(&mesh, &url, &mut random).await?;
    the_hops_add_up(&mesh, &url).await?;
    books(&mesh).await.map(drop)
}

async fn the_view_shows_all_parts(mesh: &Mesh, url: &str) -> anyhow::Result<()> {
    let view = mesh.get(url, &format!("/api/v1/views/products/{PRODUCT}")).await?;
    ensure!(view["product"]["sku"] == PRODUCT, "{view}");
    ensure!(view["price"]["currency"] == "USD", "{view}");
    let stores = view["stock"]["locations"].as_array().context("no locations")?;
    ensure!(stores.len() == 3, "{view}");
    let parts = view["freshness"]["parts"].as_object().context("no parts")?;
    ensure!(["product", "price"].iter().all(|part| parts.contains_key(*part)), "{view}");
    let versions = parts.values().filter_map(|part| part["version"].as_str());
    ensure!(versions.filter(|version| *version != "0").count() == 5, "{view}");
    Ok(())
}

/// By topic the numbers that all copies have taken; each copy's books are recomputed on the way.
async fn books(mesh: &Mesh) -> anyhow::Result<BTreeMap<&'static str, i64>> {
    let mut numbers = BTreeMap::new();
    for (topic, consumer) in COPIES {
        let mut ends = Ends::open(mesh, topic, consumer).await?;
        let books = ends.books_in_flight().await.with_context(|| format!("{consumer}, {topic}"))?;
        ensure!(books.cases == 0, "{consumer}, {topic}: {books:?}");
        *numbers.entry(topic).or_default() += books.numbers;
    }
    Ok(numbers)
}

async fn skus(mesh: &Mesh) -> anyhow::Result<Vec<String>> {
    let catalog = mesh.database("catalog").await?;
    let rows = catalog.query("select sku from catalog.product order by sku", &[]).await?;
    Ok(rows.iter().map(|row| row.get("sku")).collect())
}

/// What the view and search say of a product, held against what the owners answer at this moment.
async fn agree(mesh: &Mesh, url: &str, sku: &str) -> anyhow::Result<()> {
    let (product, product_version) = record(mesh, url, &format!("products/{sku}")).await?;
    let (price, price_version) = record(mesh, url, &format!("prices/{sku}")).await?;
    let (stock, _) = record(mesh, url, &format!("stock/{sku}")).await?;
    let view = mesh.get(url, &format!("/api/v1/views/products/{sku}")).await?;
    ensure!(view["freshness"]["stale"] == false, "{view}");
    ensure!(view["product"] == product && view["price"] == price, "{view}: {product}, {price}");
    ensure!(view["stock"]["locations"] == stock["locations"], "{view}, not {stock}");
    let parts = &view["freshness"]["parts"];
    ensure!(parts["product"]["version"] == product_version, "{parts}, not {product_version}");
    ensure!(parts["price"]["version"] == price_version, "{parts}, not {price_version}");

    let effective = price["effective"].as_str().context("no effective price")?;
    let stores = stock["locations"].as_array().into_iter().flatten();
    let available: u64 = stores.filter_map(|store| store["available"].as_u64()).sum();
    let at = format!("price_min={effective}&price_max={effective}");
    let item = find(mesh, url, sku, &at).await?;
    let item = item.with_context(|| format!("{sku} is not found at {effective}"))?;
    ensure!(item["version"] == product_version, "{item}, not {product_version}");
    ensure!(item["price"]["version"] == price_version, "{item}, not {price_version}");
    for field in ["effective", "amount"] {
        ensure!(item["price"][field] == price[field], "{item}, not {price}");
    }
    ensure!(item["availability"]["available"] == available, "{item}, not {available}");
    let above = format!("price_min={}", above(effective)?);
    ensure!(find(mesh, url, sku, &above).await?.is_none(), "{sku} is found above {effective}");
    for wanted in [true, false] {
        let found = find(mesh, url, sku, &format!("in_stock={wanted}")).await?.is_some();
        ensure!(found == (wanted == (available > 0)), "{sku}: in_stock={wanted}, {available}");
    }
    Ok(())
}

/// A master's record and its version, or null and nothing where there is none.
async fn record(mesh: &Mesh, url: &str, path: &str) -> anyhow::Result<(Value, String)> {
    let answer = mesh.http().get(format!("{url}/api/v1/{path}")).send().await?;
    if answer.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok((Value::Null, String::new()));
    }
    let answer = answer.error_for_status()?;
    let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default();
    let version = tag.trim_matches('"').split('-').next().unwrap_or_default().to_owned();
    Ok((answer.json().await?, version))
}

/// The hit of this product, if it is found under this condition.
async fn find(mesh: &Mesh, url: &str, sku: &str, and: &str) -> anyhow::Result<Option<Value>> {
    let found = mesh.get(url, &format!("/api/v1/search?q={sku}&limit=100&{and}")).await?;
    let items = found["items"].as_array().context("no items")?;
    Ok(items.iter().find(|item| item["sku"] == *sku).cloned())
}

fn above(amount: &str) -> anyhow::Result<String> {
    let cents: u64 = amount.replace('.', "").parse()?;
    let more = cents + 1;
    Ok(format!("{}.{:02}", more / 100, more % 100))
}

async fn new_prices_show_within_a_second(
    mesh: &Mesh,
    url: &str,
    random: &mut StdRng,
) -> anyhow::Result<()> {
    shop::product(mesh, url, OURS).await?;
    let mut took = Vec::new();
    for n in 0..20 {
        let amount = format!("{}.{n:02}", random.random_range(200..900));
        let body = json!({ "currency": "USD", "amount": amount });
        let start = Instant::now();
        let put = mesh.http().put(format!("{url}/api/v1/prices/{OURS}")).json(&body);
        put.send().await?.error_for_status()?;
        within(AGREE, "the new price is in the view and in search", async || {
            let view = mesh.get(url, &format!("/api/v1/views/products/{OURS}")).await?;
            let hit = find(mesh, url, OURS, "").await?.context("not found")?;
            ensure!(view["price"]["amount"] == *amount, "the view shows {view}");
            ensure!(hit["price"]["amount"] == *amount, "search shows {hit}");
            Ok(true)
        })
        .await;
        took.push(start.elapsed());
    }
    took.sort();
    println!("written to seen in view and search: P50 {:?}, slowest {:?}", took[10], took[19]);
    let kept = took.iter().filter(|took| **took <= PROMISE).count();
    ensure!(kept >= KEPT, "only {kept} of {} within {PROMISE:?}: {took:?}", took.len());
    Ok(())
}

/// Every hop of the newest price, from the append to the last who noticed it, within the time that
/// this process saw pass.
async fn the_hops_add_up(mesh: &Mesh, url: &str) -> anyhow::Result<()> {
    let before = Utc::now();
    shop::price(mesh, url, PRODUCT, "47.11").await?;
    let output = mesh.syncline(&["where", "price", PRODUCT, "--wait", "5", "--json"])?;
    let after = Utc::now();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let told: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["arrived"] == true, "{told:#}");
    let consumers = told["consumers"].as_array().context("no consumers")?;
    for (name, sink) in [("search-indexer", "search"), ("gateway", "cache")] {
        let one = consumers.iter().find(|one| one["service"] == name).context("missing")?;
        let hops = one["hops"].as_array().context("no hops")?;
        let names: Vec<_> = hops.iter().filter_map(|hop| hop["hop"].as_str()).collect();
        ensure!(names == ["received", "applied", "clean"], "{name}: {names:?}");
        ensure!(hops[2]["at_service"] == format!("{name}/{sink}"), "{}", hops[2]);
    }
    let way = told["end_to_end"]["hops"].as_array().context("no way")?;
    let steps: Vec<i64> = way.iter().filter_map(|hop| hop["step_us"].as_i64()).collect();
    let end_to_end = told["end_to_end"]["us"].as_i64().context("no time")?;
    ensure!(end_to_end == steps.iter().sum::<i64>(), "{told:#}");
    ensure!(steps.iter().all(|step| *step >= 0), "{told:#}");
    let times: Vec<DateTime<Utc>> = way
        .iter()
        .map(|hop| Ok(hop["at"].as_str().context("no time")?.parse()?))
        .collect::<anyhow::Result<_>>()?;
    ensure!(times.iter().all(|at| (before..=after).contains(at)), "{before} {after} {told:#}");
    let names: Vec<_> = way.iter().filter_map(|hop| hop["hop"].as_str()).collect();
    ensure!(names.starts_with(&["appended", "sealed"]) && names.ends_with(&["clean"]), "{names:?}");
    let printed = mesh.syncline(&["where", "price", PRODUCT])?;
    println!("{}", String::from_utf8_lossy(&printed.stdout));
    Ok(())
}
