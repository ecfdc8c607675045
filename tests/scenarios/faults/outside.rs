//! What an outsider is told, held against what the owners hold.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use harness::Mesh;
use reqwest::StatusCode;
use serde_json::{Map, Value};

/// So many products are looked at one by one.
const VIEWS: usize = 40;

/// A record that exists: its version, as answers tell it, and what it says.
type Record = (String, Value);

/// What the owners hold, by SKU.
#[derive(Default)]
struct Owned {
    products: BTreeMap<String, Record>,
    prices: BTreeMap<String, Record>,
    /// By SKU and location.
    stock: BTreeMap<String, BTreeMap<String, Record>>,
    /// Also those whose records are all deleted.
    skus: std::collections::BTreeSet<String>,
}

/// Checks every hit of the search, and the views of some products, also of deleted ones.
pub(super) async fn answers_are_the_masters(mesh: &Mesh, url: &str) -> anyhow::Result<()> {
    let owned = owned(mesh).await?;
    search_is_right(mesh, url, &owned).await?;
    let step = (owned.skus.len() / VIEWS).max(1);
    for sku in owned.skus.iter().step_by(step) {
        view_is_right(mesh, url, &owned, sku).await?;
    }
    Ok(())
}

async fn owned(mesh: &Mesh) -> anyhow::Result<Owned> {
    let mut owned = Owned::default();
    for source in ["catalog", "pricing", "warehouse"] {
        let database = mesh.database(source).await?;
        let held = "select topic, key, version, convert_from(payload, 'UTF8')::jsonb as payload
                      from outbox.current
                     where topic in ('catalog.products', 'pricing.prices', 'warehouse.stock')";
        for row in database.query(held, &[]).await? {
            let (key, version): (&str, i64) = (row.get("key"), row.get("version"));
            let (sku, location) = key.split_once('/').unwrap_or((key, ""));
            let payload: Option<Value> = row.get("payload");
            owned.skus.insert(sku.to_owned());
            let Some(payload) = payload else { continue };
            let (sku, record) = (sku.to_owned(), (version.to_string(), payload));
            match row.get("topic") {
                "catalog.products" => owned.products.insert(sku, record),
                "pricing.prices" => owned.prices.insert(sku, record),
                _ => owned.stock.entry(sku).or_default().insert(location.to_owned(), record),
            };
        }
    }
    Ok(owned)
}

async fn search_is_right(mesh: &Mesh, url: &str, owned: &Owned) -> anyhow::Result<()> {
    let mut found = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = mesh.get(url, &format!("/api/v1/search?limit=100{after}")).await?;
        ensure!(page["total"].as_u64() == Some(owned.products.len() as u64), "{page}");
        for item in page["items"].as_array().context("no items")? {
            let sku = item["sku"].as_str().context("no sku")?.to_owned();
            ensure!(found.insert(sku.clone(), item.clone()).is_none(), "{sku} is found twice");
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let skus: Vec<_> = found.keys().collect();
    ensure!(skus == owned.products.keys().collect::<Vec<_>>(), "others are found: {skus:?}");
    for (sku, item) in &found {
        let (version, product) = &owned.products[sku];
        ensure!(item["version"] == **version, "{item}, not version {version}");
        ensure!(item["name"] == product["name"], "{item}, not {product}");
        match owned.prices.get(sku) {
            Some((version, price)) => {
                ensure!(item["price"]["version"] == **version, "{item}, not {version}");
                ensure!(item["price"]["amount"] == price["amount"], "{item}, not {price}");
            }
            None => ensure!(item["price"].is_null(), "{item}: there is no such price"),
        }
        let stock = owned.stock.get(sku).cloned().unwrap_or_default();
        let versions: Map<String, Value> =
            stock.iter().map(|(at, (version, _))| (at.clone(), version.clone().into())).collect();
        ensure!(item["availability"]["versions"] == Value::Object(versions), "{item}: {stock:?}");
        let available: u64 =
            stock.values().filter_map(|(_, stock)| stock["available"].as_u64()).sum();
        ensure!(item["availability"]["available"] == available, "{item}: {stock:?}");
    }
    Ok(())
}

/// The view of a product; an owner that answers late makes it stale, and it says so, and then it is
/// asked for again.
async fn settled_view(mesh: &Mesh, url: &str, sku: &str) -> anyhow::Result<(StatusCode, Value)> {
    let path = format!("{url}/api/v1/views/products/{sku}");
    let mut last = None;
    for _ in 0..20 {
        let answer = mesh.http().get(&path).send().await?;
        let (status, view) = (answer.status(), answer.json::<Value>().await?);
        if !status.is_server_error() && view["freshness"]["stale"] != true {
            return Ok((status, view));
        }
        last = Some(view);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    bail!("{sku}: no fresh view: {last:?}")
}

/// A view tells the owners' records as they are, says so, and calls itself fresh.
async fn view_is_right(mesh: &Mesh, url: &str, owned: &Owned, sku: &str) -> anyhow::Result<()> {
    let record = |kept: &BTreeMap<String, Record>| kept.get(sku).cloned();
    let (product, price) = (record(&owned.products), record(&owned.prices));
    let stock = owned.stock.get(sku).cloned().unwrap_or_default();
    let (status, view) = settled_view(mesh, url, sku).await?;
    if product.is_none() && price.is_none() && stock.is_empty() {
        ensure!(status == StatusCode::NOT_FOUND, "{sku}: {view}");
        return Ok(());
    }
    ensure!(status.is_success(), "{sku}: {status}, {view}");
    ensure!(view["freshness"]["stale"] == false, "{view}");
    let parts = view["freshness"]["parts"].as_object().context("no parts")?;
    for (name, record) in [("product", product), ("price", price)] {
        let (version, said) = record.unzip();
        ensure!(view[name] == said.unwrap_or_default(), "{view}");
        ensure!(parts[name]["version"].as_str() == version.as_deref(), "{view}");
    }
    let versions: BTreeMap<&str, &str> = parts
        .iter()
        .filter_map(|(name, part)| Some((name.strip_prefix("stock/")?, part["version"].as_str()?)))
        .collect();
    let kept: BTreeMap<&str, &str> =
        stock.iter().map(|(at, (version, _))| (at.as_str(), version.as_str())).collect();
    ensure!(versions == kept, "{view}: {stock:?}");
    Ok(())
}
