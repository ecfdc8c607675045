//! What is published against what the contract files say, and the shapes on the wire.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::world::World;

fn schema(topic: &str) -> jsonschema::Validator {
    let contracts = pricing::contracts().unwrap();
    let contract = contracts.into_iter().find(|contract| contract.topic.as_str() == topic);
    jsonschema::validator_for(&contract.unwrap().schema.document).unwrap()
}

async fn published(world: &World, topic: &str) -> anyhow::Result<Vec<Value>> {
    let client = world.database.connect().await?;
    let payloads = "select payload from outbox.current where topic = $1 order by key";
    let rows = client.query(payloads, &[&topic]).await?;
    rows.iter().map(|row| Ok(serde_json::from_slice(row.get("payload"))?)).collect()
}

#[tokio::test]
async fn prices_and_promotions_travel_as_their_contracts_say() -> anyhow::Result<()> {
    let world = World::create().await?;
    for (sku, currency, amount) in
        [("a", "USD", "59"), ("b", "JPY", "8000"), ("c", "CLF", "0.0001"), ("d", "KWD", "0")]
    {
        let body = format!(r#"{{"currency":"{currency}","amount":"{amount}"}}"#);
        assert_eq!(world.put(&format!("/api/v1/prices/{sku}"), &body).await.status, 201);
    }
    let dear = r#"{"currency":"EUR","amount":"999999999999.99"}"#;
    world.put("/api/v1/prices/e", dear).await;
    let body = r#"{"skus":["b","a"],"percent_off":"12.50","periods":[
        {"starts_at":"2020-01-01T00:00:00Z","ends_at":"9999-12-31T23:59:59.999999Z"}]}"#;
    world.put("/api/v1/promotions/always", body).await;
    let body = r#"{"skus":["later"],"percent_off":"100","periods":[
        {"starts_at":"2031-01-01T00:00:00+02:00","ends_at":"2032-01-01T00:00:00.25Z"},
        {"starts_at":"2030-01-01T00:00:00Z","ends_at":"2030-02-01T00:00:00Z"}]}"#;
    world.put("/api/v1/promotions/later", body).await;
    for (topic, name) in [("pricing.prices", "prices"), ("pricing.promotions", "promotions")] {
        let records = published(&world, topic).await?;
        let schema = schema(topic);
        for record in &records {
            assert_eq!(schema.validate(record).map_err(|error| error.to_string()), Ok(()));
        }
        assert_json_snapshot!(name, records);
    }
    Ok(())
}

/// A word that JSON Schema does not know would otherwise be found by the first copy that checks.
#[test]
fn every_contract_holds_a_sound_schema() {
    let contracts = pricing::contracts().unwrap();
    assert_eq!(contracts.len(), 2);
    for contract in contracts {
        let sound = contract.schema.document;
        assert!(jsonschema::validator_for(&sound).is_ok(), "{}", contract.entity);
        let mut misspelt = sound.clone();
        let (_, first) = misspelt["properties"].as_object_mut().unwrap().iter_mut().next().unwrap();
        first["type"] = "strnig".into();
        assert!(jsonschema::validator_for(&misspelt).is_err(), "{}", contract.entity);
    }
}

#[test]
fn the_schemas_refuse_what_the_border_refuses() {
    let prices = schema("pricing.prices");
    let price = json!({"sku": "a", "currency": "USD", "amount": "59.00", "effective": "47.20",
        "promotion": "summer", "until": "2026-12-01T00:00:00Z"});
    assert!(prices.is_valid(&price));
    for (field, value) in [
        ("amount", json!("-1.00")),
        ("amount", json!("01.00")),
        ("amount", json!("1.")),
        ("amount", json!(1)),
        ("effective", json!("1.00000")),
        ("currency", json!("usd")),
        ("sku", json!("a b")),
        ("until", json!("2026-12-01")),
        ("until", json!("2026-12-01T00:00:00+01:00")),
        ("promotion", json!("..")),
    ] {
        let mut bad = price.clone();
        bad[field] = value.clone();
        assert!(!prices.is_valid(&bad), "{field} {value}");
    }
    let promotions = schema("pricing.promotions");
    let period = json!({"starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-02-01T00:00:00Z"});
    let promotion = json!({"id": "a", "skus": ["a"], "percent_off": "0.5", "periods": [period]});
    assert!(promotions.is_valid(&promotion));
    for (field, value) in [
        ("skus", json!([])),
        ("skus", json!(["a", "a"])),
        ("percent_off", json!("0")),
        ("percent_off", json!("100.5")),
        ("percent_off", json!("12.345")),
        ("periods", json!([])),
        ("periods", json!([{"starts_at": "2026-01-01T00:00:00Z"}])),
    ] {
        let mut bad = promotion.clone();
        bad[field] = value.clone();
        assert!(!promotions.is_valid(&bad), "{field} {value}");
    }
}

/// What pricing reads of a product is less than what is promised.
#[test]
fn a_product_is_what_its_contract_says() {
    let contract = include_str!("../../../catalog/contracts/product.yaml");
    let contract = contracts::Contract::parse(contract).unwrap();
    assert_eq!(contract.topic.as_str(), <pricing::Products as inbox::Projection>::TOPIC);
    let sample = json!({"sku": "a", "name": "A", "categories": [], "attributes": {}});
    let schema = jsonschema::validator_for(&contract.schema.document).unwrap();
    assert!(schema.is_valid(&sample));
    assert_eq!(serde_json::from_value::<pricing::Product>(sample).unwrap(), pricing::Product {});
}

#[tokio::test]
async fn the_openapi_document_describes_every_route() -> anyhow::Result<()> {
    let world = World::create().await?;
    let document = world.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    for (path, methods) in [
        ("/api/v1/prices/{sku}", &["get", "put", "delete"][..]),
        ("/api/v1/promotions/{id}", &["get", "put", "delete"]),
        ("/api/v1/prices/import", &["post"]),
        ("/api/v1/promotions/import", &["post"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    assert_json_snapshot!("openapi", document);
    Ok(())
}
