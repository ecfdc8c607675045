//! Deliveries that are refused, doubled and reordered between sidecars and their services.

use std::time::Duration;

use anyhow::ensure;
use harness::Mesh;
use testkit::{Deliveries, DeliveryProxy};

use super::drill::{Door, Drill};

const EVENTS: &str = "/events/";
const REFUSED_FOR: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_ten_seconds_is_read_from_the_source() -> anyhow::Result<()> {
    let mesh = Mesh::new()?;
    let proxy = DeliveryProxy::start(mesh.place_of("search-indexer"), EVENTS).await?;
    let way = format!("search-indexer-sidecar:search-indexer={}", proxy.address().port());
    let drill = Drill::begin(mesh, &[way]).await?;
    let fault = async |drill: &Drill| {
        let before = drill.fetched("search-indexer").await?;
        proxy.set(Deliveries::Refuse);
        tokio::time::sleep(REFUSED_FOR).await;
        let fetched = drill.fetched("search-indexer").await? - before;
        let refused = proxy.delivered().refused;
        proxy.set(Deliveries::Pass);
        ensure!(refused > 0, "no delivery was refused");
        ensure!(fetched > 0, "the reader applied nothing meanwhile");
        Ok(format!("{refused} deliveries were answered 500, {fetched} changes read meanwhile"))
    };
    drill.survives("search-indexer answers 500 for 10 s", Door::Gateway, fault).await
}

/// Covers: P10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_come_twice_and_in_another_order_are_applied_once() -> anyhow::Result<()> {
    let mesh = Mesh::new()?;
    let mut proxies = Vec::new();
    let mut ways = Vec::new();
    for service in ["search-indexer", "gateway", "pricing", "warehouse"] {
        let proxy = DeliveryProxy::start(mesh.place_of(service), EVENTS).await?;
        proxy.set(Deliveries::DoubleAndReorder);
        ways.push(format!("{service}-sidecar:{service}={}", proxy.address().port()));
        proxies.push((service, proxy));
    }
    let drill = Drill::begin(mesh, &ways).await?;
    // It lies on the way from the first change to the last.
    let fault =
        async |_: &Drill| Ok("every delivery was doubled, every second reordered".to_owned());
    drill.survives("deliveries doubled and reordered", Door::Gateway, fault).await?;
    for (service, proxy) in &proxies {
        let delivered = proxy.delivered();
        println!("{service}: {delivered:?}");
        ensure!(delivered.received > 0 && delivered.refused == 0, "{service}: {delivered:?}");
        ensure!(delivered.doubled + 1 >= delivered.received, "{service}: {delivered:?}");
        ensure!(delivered.reordered > 0, "{service}: {delivered:?}");
    }
    let indexer = drill.mesh.database("search-indexer").await?;
    drill
        .until("duplicates are counted", async || {
            let counted = "select sum(duplicates)::bigint from inbox.position";
            Ok(indexer.query_one(counted, &[]).await?.get::<_, i64>(0) > 0)
        })
        .await;
    Ok(())
}
