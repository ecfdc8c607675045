//! A catalog whose changes arrive here by a real relay.

use bus::{Bus, Memory};
use contracts::{Contract, Source};
use outbox::{Relay, Tx};
use pricing::Products;
use serde_json::{Value, json};
use testkit::{Database, eventually};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::world::World;

const PRICE: &str = "/api/v1/prices/MH01";

/// Everything that runs beside the service, until dropped.
struct Mesh {
    catalog: Database,
    _stop: tokio_util::sync::DropGuard,
    _tasks: JoinSet<()>,
}

impl Mesh {
    /// A relay over a new catalog, and the copy of its products in the database of this world.
    async fn start(world: &World) -> anyhow::Result<Self> {
        let catalog = Database::create("masters").await?;
        catalog.migrate("outbox", outbox::MIGRATIONS).await?;
        let contract = Contract::parse(include_str!("../../../catalog/contracts/product.yaml"))?;
        outbox::register(&catalog.connect().await?, &contract).await?;

        let (hub, stop, mut tasks) = (Memory::new(), CancellationToken::new(), JoinSet::new());
        let bus = Bus::memory(&hub).with_app_token("token".into());
        let (config, url) = (outbox::Config::default(), catalog.url().into());
        let source = Source::parse("catalog")?;
        let relay = Relay::open(&config, source.clone(), &url, bus.clone())?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let calls = bus.guard(relay.routes());
        tasks.spawn(async move { axum::serve(listener, calls).await.unwrap() });
        let ends = stop.clone();
        tasks.spawn(async move { relay.run(ends).await });

        let mut inbox = inbox::Config { stop: stop.clone(), ..inbox::Config::default() };
        inbox.relay_urls = vec![inbox::Road::new(&source, address)];
        let (inbox, pool) = (inbox.named("pricing"), world.database.pool(4)?);
        let bus = Bus::memory(&hub).with_app_token("token".into());
        tasks.spawn(async move { inbox::run(inbox, pool, bus, Products).await.unwrap() });
        Ok(Self { catalog, _stop: stop.drop_guard(), _tasks: tasks })
    }

    /// Changes the product `MH01`; without a state it is deleted.
    async fn change(&self, product: Option<Value>) -> anyhow::Result<()> {
        let pool = self.catalog.pool(1)?;
        let client = pool.get().await?;
        let tx = Tx::begin(&client);
        match product {
            Some(product) => outbox::append(&tx, "catalog.products", "MH01", &product).await?,
            None => outbox::delete(&tx, "catalog.products", "MH01").await?,
        };
        Ok(tx.commit().await?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_waits_for_its_product_until_the_catalog_has_told_of_it() -> anyhow::Result<()> {
    let world = World::create().await?;
    let mesh = Mesh::start(&world).await?;
    let waits = async |what: &'static str| {
        eventually(&format!("the price waits for {what:?}"), || async {
            Ok(world.get(PRICE).await.header("syncline-waits-for") == what)
        })
        .await;
    };
    world.price("MH01", "59").await;
    waits("catalog.products/MH01").await;
    let product = json!({"sku": "MH01", "name": "Hoodie", "categories": [], "attributes": {}});
    mesh.change(Some(product)).await?;
    waits("").await;
    mesh.change(None).await?;
    waits("catalog.products/MH01").await;
    assert_eq!(world.costs("MH01").await.0, "59.00");
    assert_eq!(world.stored().await?, [1, 0, 1, 1]);
    Ok(())
}
