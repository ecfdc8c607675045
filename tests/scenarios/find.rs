//! What was written is found a moment later, a hundred times in a row.

use std::time::{Duration, Instant};

use harness::Mesh;
use serde_json::json;
use testkit::within;

const PROMISE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_written_product_is_found_within_a_second_a_hundred_times() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty"])?;
    let url = mesh.url()?;
    let mut took = Vec::new();
    for n in 0..100 {
        let sku = format!("FIND-{n:03}");
        let product = json!({
            "name": format!("Lamp quartz{n:03}"), "categories": [], "attributes": {},
        });
        let start = Instant::now();
        let put = mesh.http().put(format!("{url}/api/v1/products/{sku}")).json(&product);
        let status = put.send().await?.status();
        assert_eq!(status, reqwest::StatusCode::CREATED, "{sku}");
        within(PROMISE.saturating_sub(start.elapsed()), &format!("{sku} is found"), async || {
            let found = mesh.get(&url, &format!("/api/v1/search?q=quartz{n:03}")).await?;
            Ok(found["items"][0]["sku"] == sku)
        })
        .await;
        took.push(start.elapsed());
    }
    took.sort();
    println!("written to found: P50 {:?}, P95 {:?}, slowest {:?}", took[50], took[95], took[99]);
    Ok(())
}
