//! What is published against what the contract files say, and the shapes on the wire.

use insta::assert_json_snapshot;
use serde_json::Value;

use crate::world::World;

fn schema(topic: &str) -> jsonschema::Validator {
    let contracts = catalog::contracts().expect("sound contracts");
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
async fn products_travel_as_their_contract_says() -> anyhow::Result<()> {
    let world = World::create().await?;
    let smallest = r#"{"name":"Chaz","categories":[],"attributes":{}}"#;
    world.put("/api/v1/products/a", smallest).await;
    let long = "ä".repeat(4096);
    let full = format!(
        r#"{{"name":"Größe 2","categories":["men.tops","new"],"attributes":{{"color":"Black",
        "weight":0.25,"pieces":2,"max":9007199254740992,"warm":true,
        "text":"{long}"}}}}"#
    );
    assert_eq!(world.put("/api/v1/products/b", &full).await.status, 201);
    let mut products = published(&world, "catalog.products").await?;
    let schema = schema("catalog.products");
    for product in &products {
        assert_eq!(schema.validate(product).map_err(|error| error.to_string()), Ok(()));
    }
    products[1]["attributes"]["text"] = "...".into();
    assert_json_snapshot!("products", products);
    Ok(())
}

#[tokio::test]
async fn categories_travel_as_their_contract_says() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.put("/api/v1/categories/men", r#"{"name":"Men","parent":null}"#).await;
    world.put("/api/v1/categories/men.tops", r#"{"name":"Tops","parent":"men"}"#).await;
    let categories = published(&world, "catalog.categories").await?;
    let schema = schema("catalog.categories");
    for category in &categories {
        assert_eq!(schema.validate(category).map_err(|error| error.to_string()), Ok(()));
    }
    assert_json_snapshot!("categories", categories);
    Ok(())
}

/// A word that JSON Schema does not know would otherwise be found by the first copy that checks.
#[test]
fn every_contract_holds_a_sound_schema() {
    let contracts = catalog::contracts().expect("sound contracts");
    assert_eq!(contracts.len(), 2);
    for contract in contracts {
        let sound = contract.schema.document;
        assert!(jsonschema::validator_for(&sound).is_ok(), "{}", contract.entity);
        let mut misspelt = sound.clone();
        misspelt["properties"]["name"]["type"] = "strnig".into();
        assert!(jsonschema::validator_for(&misspelt).is_err(), "{}", contract.entity);
    }
}

#[test]
fn the_schema_refuses_what_the_border_refuses() {
    let schema = schema("catalog.products");
    let product = |sku: &str, attributes: Value| {
        let categories: [&str; 0] = [];
        serde_json::json!({
            "sku": sku, "name": "a", "categories": categories, "attributes": attributes,
        })
    };
    assert!(schema.is_valid(&product("a", serde_json::json!({"n": 1}))));
    assert!(schema.is_valid(&product("...", serde_json::json!({}))));
    for sku in ["a b", ".", "..", ""] {
        assert!(!schema.is_valid(&product(sku, serde_json::json!({}))), "{sku:?}");
    }
    assert!(!schema.is_valid(&product("a", serde_json::json!({"n": null}))));
    let beyond = serde_json::json!({"n": 9_007_199_254_740_993_i64});
    assert!(!schema.is_valid(&product("a", beyond)));
    assert!(!schema.is_valid(&product("a", serde_json::json!({"a b": 1}))));
}

#[tokio::test]
async fn the_openapi_document_describes_every_route() -> anyhow::Result<()> {
    let world = World::create().await?;
    let document = world.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    for path in ["/api/v1/products/{sku}", "/api/v1/categories/{id}"] {
        for method in ["get", "put", "delete"] {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    assert_json_snapshot!("openapi", document);
    Ok(())
}

#[tokio::test]
async fn a_refusal_on_the_wire() -> anyhow::Result<()> {
    let world = World::create().await?;
    let body = r#"{"name":"","categories":[],"attributes":{"n":1e400}}"#;
    let answer = world.put("/api/v1/products/a", body).await;
    let mut problem = answer.json();
    let trace = problem["trace_id"].take();
    assert_eq!(trace.as_str().map(str::len), Some(32));
    assert_json_snapshot!("refusal", problem);
    Ok(())
}
