//! One command, from nothing to a catalogue that can be searched; and again after `down`.

use std::time::Duration;

use harness::Mesh;
use serde_json::Value;
use testkit::within;

/// The sample's products, as the NOTICE says.
pub(crate) const SAMPLE_PRODUCTS: u64 = 1_994;

/// Covers: A1, A4.
#[tokio::test]
async fn up_serves_the_sample_and_serves_it_again_after_down() -> anyhow::Result<()> {
    let mesh = Mesh::up(&[])?;
    let status = mesh.status()?;
    assert!(status.ready && status.parts.iter().all(|part| part.ready), "{status:?}");
    assert_eq!(status.transport, "dapr");
    assert_eq!(status.parts.iter().filter(|part| part.kind == "sidecar").count(), 6);

    let first = whole_sample(&mesh).await?;
    assert!(first["total"].as_u64().is_some_and(|total| total > 0), "{first}");
    assert!(first["items"][0]["name"].as_str().is_some_and(|name| name.contains("Hoodie")));
    assert!(first["facets"]["category"].as_array().is_some_and(|ids| !ids.is_empty()), "{first}");

    mesh.down()?;
    assert!(mesh.get(&status.url, "/healthz").await.is_err(), "the gateway answers after down");
    let took = mesh.start(&[])?;
    println!("second start: ready after {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(20), "the second start took {took:?}");
    assert_eq!(whole_sample(&mesh).await?["total"], first["total"]);
    Ok(())
}

/// Waits until all of the sample is indexed, and answers a search for hoodies.
async fn whole_sample(mesh: &Mesh) -> anyhow::Result<Value> {
    let url = mesh.url()?;
    within(Duration::from_secs(60), "the whole sample is indexed", async || {
        let all = mesh.get(&url, "/api/v1/search?limit=1").await?;
        Ok(all["total"].as_u64() == Some(SAMPLE_PRODUCTS))
    })
    .await;
    mesh.get(&url, "/api/v1/search?q=hoodie").await
}
