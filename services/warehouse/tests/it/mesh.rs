//! Warehouse behind a real catalog outbox and a real relay: which products it knows.

use bus::{Bus, Memory};
use contracts::{Contract, Source};
use inbox::{Config, Road};
use outbox::{Relay, Tx};
use serde_json::json;
use testkit::{Database, eventually};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use warehouse::Products;

use crate::world::{STOCK, World};

const PRODUCTS: &str = include_str!("../../../catalog/contracts/product.yaml");

#[tokio::test]
async fn stock_that_came_before_its_product_waits_until_it_arrives() -> anyhow::Result<()> {
    let (hub, mut tasks, stop) = (Memory::new(), JoinSet::new(), CancellationToken::new());
    let catalog = Database::create("catalog").await?;
    catalog.migrate("outbox", outbox::MIGRATIONS).await?;
    outbox::register(&catalog.connect().await?, &Contract::parse(PRODUCTS)?).await?;
    let source = Source::parse("catalog")?;
    let bus = Bus::memory(&hub).with_app_token("token".into());
    let settings = outbox::Config::default();
    let relay = Relay::open(&settings, source.clone(), &catalog.url().into(), bus.clone())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let road = Road::new(&source, format!("http://{}", listener.local_addr()?));
    let calls = bus.guard(relay.routes());
    tasks.spawn(async move { axum::serve(listener, calls).await.expect("a relay") });
    let stopped = stop.clone();
    tasks.spawn(async move { relay.run(stopped).await });

    let world = World::create().await?;
    let config = Config {
        relay_urls: vec![road],
        stop: stop.clone(),
        ..Config::default().named("warehouse")
    };
    let (monitor, pool) = (config.monitor.clone(), world.pool.clone());
    let bus = Bus::memory(&hub).with_app_token("token".into());
    tasks.spawn(async move { inbox::run(config, pool, bus, Products).await.expect("a copy") });
    eventually("the copy is ready", || {
        let ready = monitor.ready();
        async move { Ok(ready) }
    })
    .await;

    assert_eq!(world.count(3).await.header("syncline-waits-for"), "catalog.products/a");
    let pool = catalog.pool(1)?;
    let client = pool.get().await?;
    let tx = Tx::begin(&client);
    let product = json!({"sku": "a", "name": "A", "categories": [], "attributes": {}});
    outbox::append(&tx, "catalog.products", "a", &product).await?;
    tx.commit().await?;
    eventually("the product arrives", || async {
        Ok(world.get(STOCK).await.header("syncline-waits-for").is_empty())
    })
    .await;
    assert_eq!(world.level().await, (3, 0, 3));

    let tx = Tx::begin(&client);
    outbox::delete(&tx, "catalog.products", "a").await?;
    tx.commit().await?;
    eventually("the product is gone", || async {
        Ok(world.get(STOCK).await.header("syncline-waits-for") == "catalog.products/a")
    })
    .await;
    stop.cancel();
    Ok(())
}
