//! The owners' documents as one.

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::World;

fn owner(document: Value) -> Router {
    Router::new().route("/openapi.json", get(async move || Json(document)))
}

fn product_document() -> Value {
    let answer = json!({"$ref": "#/components/schemas/Product"});
    json!({
        "openapi": "3.1.0",
        "info": {"title": "catalog", "version": "0"},
        "paths": {
            "/api/v1/products/{sku}": {"get": {"responses": {"200": {"content": answer}}}},
            "/internal": {"get": {}},
        },
        "components": {"schemas": {"Product": {"type": "object"}, "Problem": {"type": "object"}}},
    })
}

fn search_document() -> Value {
    let answer = json!([{"$ref": "#/components/schemas/Product"}]);
    json!({
        "openapi": "3.1.0",
        "info": {"title": "search-indexer", "version": "0"},
        "paths": {"/api/v1/search": {"get": {"responses": {"200": {"content": answer}}}}},
        "components": {"schemas": {"Product": {"type": "string"}, "Problem": {"type": "object"}}},
    })
}

#[tokio::test]
async fn the_owners_documents_are_merged_and_clashing_names_kept_apart() {
    let world = World::start(Some(owner(product_document())), Some(owner(search_document()))).await;
    let document = world.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    let view = "/api/v1/views/products/{sku}";
    assert_eq!(paths, ["/api/v1/products/{sku}", "/api/v1/search", view]);
    let schemas = json!({
        "Product": {"type": "object"},
        "search-indexer.Product": {"type": "string"},
        "Problem": {"type": "object"},
    });
    for (name, meaning) in schemas.as_object().unwrap() {
        assert_eq!(document["components"]["schemas"][name], *meaning, "{name}");
    }
    assert!(document["components"]["schemas"]["View"]["properties"]["freshness"].is_object());
    let of = |path: &str| document["paths"][path]["get"]["responses"]["200"]["content"].clone();
    assert_eq!(of("/api/v1/products/{sku}"), json!({"$ref": "#/components/schemas/Product"}));
    let renamed = json!([{"$ref": "#/components/schemas/search-indexer.Product"}]);
    assert_eq!(of("/api/v1/search"), renamed);
    assert_eq!(document["info"]["description"], "Master data, views and search, at one address.");
}

#[tokio::test]
async fn an_owner_that_is_away_is_left_out_and_named() {
    let world = World::start(Some(owner(product_document())), None).await;
    let document = world.get("/openapi.json").await.json();
    assert!(document["paths"].get("/api/v1/search").is_none());
    assert!(document["paths"].get("/api/v1/products/{sku}").is_some());
    let description = document["info"]["description"].as_str().unwrap();
    assert!(description.contains("search-indexer is away"), "{description}");
}
