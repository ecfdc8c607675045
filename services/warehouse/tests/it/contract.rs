//! What is published against what the contract files say, and the shapes on the wire.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::world::World;

fn schema(topic: &str) -> jsonschema::Validator {
    let contracts = warehouse::contracts().expect("sound contracts");
    let contract = contracts.into_iter().find(|contract| contract.topic.as_str() == topic);
    let contract = contract.expect("a contract for this topic");
    jsonschema::validator_for(&contract.schema.document).expect("a sound schema")
}

async fn published(world: &World, topic: &str) -> anyhow::Result<Vec<Value>> {
    let client = world.database.connect().await?;
    let payloads = "select payload from outbox.current where topic = $1 order by key";
    let rows = client.query(payloads, &[&topic]).await?;
    rows.iter().map(|row| Ok(serde_json::from_slice(row.get("payload"))?)).collect()
}

#[tokio::test]
async fn stock_travels_as_its_contract_says() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(12).await;
    world.reserve(2, 60).await;
    world.put("/api/v1/stock/MH01-XS-Black/store-1000", r#"{"on_hand":2147483648}"#).await;
    world.put("/api/v1/stock/none/s", r#"{"on_hand":0}"#).await;
    let stock = published(&world, "warehouse.stock").await?;
    let schema = schema("warehouse.stock");
    for record in &stock {
        assert_eq!(schema.validate(record).map_err(|error| error.to_string()), Ok(()));
    }
    assert_json_snapshot!("stock", stock);
    Ok(())
}

#[tokio::test]
async fn locations_travel_as_their_contract_says() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(1).await;
    let body =
        r#"{"name":"Mall of America","city":"Bloomington","region":"MN","postcode":"55425"}"#;
    world.put("/api/v1/locations/store-1000", body).await;
    let locations = published(&world, "warehouse.locations").await?;
    let schema = schema("warehouse.locations");
    for record in &locations {
        assert_eq!(schema.validate(record).map_err(|error| error.to_string()), Ok(()));
    }
    assert_json_snapshot!("locations", locations);
    Ok(())
}

#[test]
fn the_schema_refuses_what_the_border_refuses() {
    let schema = schema("warehouse.stock");
    let stock = |sku: &str, on_hand: Value| {
        let mut stock = json!({"location": "s", "reserved": 0, "available": 0});
        stock["sku"] = sku.into();
        stock["on_hand"] = on_hand;
        stock
    };
    assert!(schema.is_valid(&stock("a", json!(0))));
    assert!(schema.is_valid(&stock("a", json!(2_147_483_648_i64))));
    for on_hand in [json!(-1), json!(1.5), json!("1"), json!(2_147_483_649_i64), json!(null)] {
        assert!(!schema.is_valid(&stock("a", on_hand.clone())), "{on_hand}");
    }
    for sku in ["a b", ".", "..", ""] {
        assert!(!schema.is_valid(&stock(sku, json!(0))), "{sku:?}");
    }
}

/// A word that JSON Schema does not know would otherwise be found by the first copy that checks.
#[test]
fn every_contract_holds_a_sound_schema() {
    let contracts = warehouse::contracts().expect("sound contracts");
    assert_eq!(contracts.len(), 2);
    for (contract, field) in contracts.into_iter().zip(["sku", "id"]) {
        let sound = contract.schema.document;
        assert!(jsonschema::validator_for(&sound).is_ok(), "{}", contract.entity);
        let mut misspelt = sound.clone();
        misspelt["properties"][field]["type"] = "strnig".into();
        assert!(jsonschema::validator_for(&misspelt).is_err(), "{}", contract.entity);
    }
}

#[test]
fn a_product_is_what_its_contract_says() {
    let contract = include_str!("../../../catalog/contracts/product.yaml");
    let contract = contracts::Contract::parse(contract).expect("a sound contract");
    assert_eq!(contract.topic.as_str(), <warehouse::Products as inbox::Projection>::TOPIC);
    let sample = json!({"sku": "a", "name": "A", "categories": ["c"], "attributes": {"n": 1}});
    let schema = jsonschema::validator_for(&contract.schema.document).expect("a sound schema");
    assert!(schema.is_valid(&sample));
    assert!(serde_json::from_value::<warehouse::Product>(sample).is_ok());
}

#[tokio::test]
async fn the_openapi_document_describes_every_route() -> anyhow::Result<()> {
    let world = World::create().await?;
    let document = world.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    for (path, methods) in [
        ("/api/v1/stock/{sku}", &["get"][..]),
        ("/api/v1/stock/{sku}/{location}", &["get", "put", "delete"]),
        ("/api/v1/stock/{sku}/{location}/adjustments", &["post"]),
        ("/api/v1/locations/{id}", &["get", "put", "delete"]),
        ("/api/v1/stock/import", &["post"]),
        ("/api/v1/locations/import", &["post"]),
        ("/api/v1/reservations", &["post"]),
        ("/api/v1/reservations/{id}", &["get", "delete"]),
        ("/api/v1/reservations/{id}/fulfilment", &["post"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    assert_json_snapshot!("openapi", document);
    Ok(())
}

#[tokio::test]
async fn a_refusal_on_the_wire() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(3).await;
    let answer = world.reserve(4, 60).await;
    let mut problem = answer.json();
    let trace = problem["trace_id"].take();
    assert_eq!(trace.as_str().map(str::len), Some(32));
    assert_json_snapshot!("refusal", problem);
    Ok(())
}
