//! What several scenarios write and read through the gateway.

use harness::Mesh;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

/// Creates or renames a product.
pub(crate) async fn named(mesh: &Mesh, url: &str, sku: &str, name: &str) -> anyhow::Result<()> {
    let body = json!({ "name": name, "categories": [], "attributes": {} });
    put(mesh, url, &format!("products/{sku}"), &body).await.map(drop)
}

/// Creates a product.
pub(crate) async fn product(mesh: &Mesh, url: &str, sku: &str) -> anyhow::Result<()> {
    named(mesh, url, sku, &format!("Thing {sku}")).await
}

/// Gives a product a price.
pub(crate) async fn price(
    mesh: &Mesh,
    url: &str,
    sku: &str,
    amount: &str,
) -> anyhow::Result<Response> {
    let body = json!({ "currency": "USD", "amount": amount });
    put(mesh, url, &format!("prices/{sku}"), &body).await
}

/// Writes a record; the answer, where it was taken.
pub(crate) async fn put(
    mesh: &Mesh,
    url: &str,
    record: &str,
    body: &Value,
) -> anyhow::Result<Response> {
    let put = mesh.http().put(format!("{url}/api/v1/{record}")).json(body);
    Ok(put.send().await?.error_for_status()?)
}

/// The composed view of a product, with its status.
pub(crate) async fn view(mesh: &Mesh, url: &str, sku: &str) -> anyhow::Result<(StatusCode, Value)> {
    let answer = mesh.http().get(format!("{url}/api/v1/views/products/{sku}")).send().await?;
    Ok((answer.status(), answer.json().await?))
}

/// What search says of a product, if it finds it.
pub(crate) async fn found(mesh: &Mesh, url: &str, sku: &str) -> anyhow::Result<Option<Value>> {
    let found = mesh.get(url, &format!("/api/v1/search?q={sku}")).await?;
    let items = found["items"].as_array().into_iter().flatten();
    Ok(items.into_iter().find(|item| item["sku"] == *sku).cloned())
}
