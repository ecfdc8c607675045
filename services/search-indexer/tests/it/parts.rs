//! Prices and stock as parts of a document: whatever comes first, whatever is missing, the document
//! shows what is here.

use search_indexer::{Hit, Prices, Stock};
use serde_json::{Value, json};

use crate::indexer::{World, hoodie};
use crate::world::{everything, words};

fn price(amount: &str, effective: &str, promotion: Option<&str>) -> Option<Value> {
    let until = promotion.map(|_| "2026-12-01T00:00:00Z");
    Some(json!({"sku": "MH01", "currency": "USD", "amount": amount, "effective": effective,
        "promotion": promotion, "until": until}))
}

fn stock(available: u32) -> Option<Value> {
    Some(json!({"sku": "?", "location": "?", "on_hand": 99, "reserved": 1, "available": available}))
}

impl World {
    async fn price(&self, sku: &str, version: i64, entity: Option<Value>) {
        let dirty = self.change(&Prices, sku, version, entity).await;
        assert_eq!(dirty, [sku]);
        self.update(dirty).await;
    }

    async fn stock(&self, key: &str, version: i64, entity: Option<Value>) {
        let dirty = self.change(&Stock, key, version, entity).await;
        assert_eq!(dirty, [key.split('/').next().unwrap()]);
        self.update(dirty).await;
    }

    async fn hit(&self) -> Hit {
        let page = self.indexer.search(words("hoodie")).await.unwrap();
        page.hits.into_iter().next().unwrap()
    }

    async fn effective(&self) -> Option<String> {
        self.hit().await.price.map(|price| price.effective)
    }

    async fn waiting(&self) -> u64 {
        self.indexer.waiting().await.unwrap()
    }
}

#[tokio::test]
async fn price_and_stock_wait_for_their_product_and_are_shown_when_it_arrives() {
    let world = World::new().await;
    world.price("MH01", 4, price("59.00", "47.20", Some("summer"))).await;
    world.stock("MH01/nyc", 2, stock(10)).await;
    world.stock("MH02/nyc", 1, stock(1)).await;
    assert_eq!(world.indexer.search(everything()).await.unwrap().total, 0);
    assert_eq!(world.waiting().await, 2);

    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    assert_eq!(world.waiting().await, 1);
    let hit = serde_json::to_value(world.hit().await).unwrap();
    assert_eq!(
        hit["price"],
        json!({"currency": "USD", "amount": "59.00", "effective": "47.20", "promotion": "summer",
            "until": "2026-12-01T00:00:00Z", "version": "4"})
    );
    assert_eq!(
        hit["availability"],
        json!({"in_stock": true, "available": 10, "locations": 1, "versions": {"nyc": "2"}})
    );
    world.stock("MH02/nyc", 2, None).await;
    assert_eq!(world.waiting().await, 0);
}

#[tokio::test]
async fn a_product_without_price_and_stock_says_so() {
    let world = World::new().await;
    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    let hit = world.hit().await;
    assert_eq!((hit.price, world.waiting().await), (None, 0));
    assert_eq!(
        serde_json::to_value(hit.availability).unwrap(),
        json!({"in_stock": false, "available": 0, "locations": 0, "versions": {}})
    );
}

#[tokio::test]
async fn a_deleted_product_leaves_its_parts_waiting_for_its_return() {
    let world = World::new().await;
    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    world.price("MH01", 1, price("59.00", "59.00", None)).await;
    world.update(world.product("MH01", 2, None).await).await;
    assert_eq!(world.indexer.search(everything()).await.unwrap().total, 0);
    assert_eq!(world.waiting().await, 1);
    // What changes meanwhile is not lost either.
    world.price("MH01", 2, price("60.00", "60.00", None)).await;
    world.update(world.product("MH01", 3, hoodie(&[])).await).await;
    assert_eq!((world.effective().await.unwrap(), world.waiting().await), ("60.00".to_owned(), 0));
}

#[tokio::test]
async fn a_promotion_that_begins_and_ends_and_a_price_that_goes_reach_the_document() {
    let world = World::new().await;
    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    world.price("MH01", 1, price("59.00", "59.00", None)).await;
    assert_eq!(world.hit().await.price.unwrap().promotion, None);
    world.price("MH01", 2, price("59.00", "47.20", Some("summer"))).await;
    let shown = world.hit().await.price.unwrap();
    assert_eq!((shown.effective.as_str(), shown.promotion.as_deref()), ("47.20", Some("summer")));
    world.price("MH01", 3, price("59.00", "59.00", None)).await;
    let shown = world.hit().await.price.unwrap();
    assert_eq!((shown.effective.as_str(), shown.promotion, shown.until), ("59.00", None, None));
    world.price("MH01", 4, None).await;
    assert_eq!(world.effective().await, None);
}

#[tokio::test]
async fn the_stock_of_all_locations_is_summed_and_a_location_that_goes_is_forgotten() {
    let world = World::new().await;
    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    for (location, available) in [("nyc", 3), ("sf", 4), ("empty", 0)] {
        world.stock(&format!("MH01/{location}"), 7, stock(available)).await;
    }
    // Another product's stock, though its name begins the same.
    world.stock("MH01-XS/nyc", 1, stock(100)).await;
    let shown = async || {
        let of = world.hit().await.availability;
        (of.in_stock, of.available, of.locations, Vec::from_iter(of.versions.into_keys()).join(" "))
    };
    assert_eq!(shown().await, (true, 7, 2, "empty nyc sf".to_owned()));
    world.stock("MH01/sf", 8, None).await;
    assert_eq!(shown().await, (true, 3, 1, "empty nyc".to_owned()));
    world.stock("MH01/nyc", 8, stock(0)).await;
    assert_eq!(shown().await, (false, 0, 0, "empty nyc".to_owned()));
    world.stock("MH01/nyc", 9, stock(2_147_483_648)).await;
    world.stock("MH01/sf", 9, stock(2_147_483_648)).await;
    assert_eq!(shown().await, (true, 4_294_967_296, 2, "empty nyc sf".to_owned()));
}

#[tokio::test]
async fn an_index_rebuilt_from_the_parts_has_their_prices_and_stock() {
    let world = World::new().await;
    world.update(world.product("MH01", 1, hoodie(&[])).await).await;
    world.price("MH01", 1, price("59.00", "47.20", Some("summer"))).await;
    world.stock("MH01/nyc", 1, stock(10)).await;
    world.price("LATER", 1, price("1.00", "1.00", None)).await;
    let before = world.hit().await;
    std::fs::remove_dir_all(world.folder.path().join("tantivy")).unwrap();
    let world = world.restart().await;
    assert_eq!((world.index.cleared(), world.hit().await), (1, before));
    assert_eq!(world.waiting().await, 1);
}

/// A batch that both projections write into at once is one row each, whatever the order.
#[tokio::test]
async fn the_parts_of_a_batch_are_those_of_its_products_alone() {
    let world = World::new().await;
    let mut due = Vec::new();
    for n in 1..=9 {
        let (sku, amount) = (format!("S{n}"), format!("{n}.00"));
        due.extend(world.product(&sku, 1, hoodie(&[])).await);
        due.extend(world.change(&Prices, &sku, 1, price(&amount, &amount, None)).await);
        for location in 1..=n {
            let key = format!("{sku}/l{location}");
            due.extend(world.change(&Stock, &key, 1, stock(1)).await);
        }
    }
    due.sort();
    due.dedup();
    world.update(due).await;
    let page = world.indexer.search(words("hoodie")).await.unwrap();
    for hit in &page.hits {
        let n = hit.sku.trim_start_matches('S');
        assert_eq!(hit.price.as_ref().unwrap().amount, format!("{n}.00"));
        assert_eq!(hit.availability.available.to_string(), n);
    }
    assert_eq!(page.total, 9);
}
