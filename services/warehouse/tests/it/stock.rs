//! Counting, adjusting, reading and deleting stock.

use contracts::Digest;
use serde_json::json;

use crate::world::{STOCK, World};

const ADJUSTMENTS: &str = "/api/v1/stock/a/s/adjustments";

#[tokio::test]
async fn stock_is_created_with_its_location_counted_and_deleted() -> anyhow::Result<()> {
    let world = World::create().await?;
    assert_eq!(world.get(STOCK).await.problem(), (404, "not-found".to_owned()));
    let created = world.count(12).await;
    assert_eq!((created.status.as_u16(), created.header("location")), (201, STOCK));
    let stock = json!({"sku": "a", "location": "s", "on_hand": 12, "reserved": 0, "available": 12});
    assert_eq!(created.json(), stock);
    let location = world.get("/api/v1/locations/s").await.json();
    let unknown = json!({"id": "s", "name": null, "city": null, "region": null, "postcode": null});
    assert_eq!(location, unknown);
    // Two records, and a change of each.
    assert_eq!(world.stored().await?, [1, 1, 0, 2, 2, 0]);

    let counted = world.count(7).await;
    assert_eq!(counted.status, 200);
    assert!(counted.etag().starts_with("\"2-"), "{}", counted.etag());
    let read = world.get(STOCK).await;
    assert_eq!((read.etag(), &read.body), (counted.etag(), &counted.body));
    assert_eq!(world.count(7).await.etag(), counted.etag(), "equal stock changes nothing");
    assert_eq!(world.stored().await?, [1, 1, 0, 2, 3, 0]);

    assert_eq!(world.delete(STOCK).await.status, 204);
    assert_eq!(world.get(STOCK).await.status, 404);
    assert_eq!(world.delete(STOCK).await.problem().0, 404);
    let again = world.count(1).await;
    assert_eq!(again.status, 201);
    assert!(again.etag().starts_with("\"4-"), "versions never restart: {}", again.etag());
    world.assert_sound().await
}

#[tokio::test]
async fn the_tag_is_version_and_digest_of_the_published_bytes() -> anyhow::Result<()> {
    let world = World::create().await?;
    let created = world.count(3).await;
    let client = world.database.connect().await?;
    let current = "select version, payload from outbox.current where topic = 'warehouse.stock'";
    let row = client.query_one(current, &[]).await?;
    let (version, payload): (i64, Vec<u8>) = (row.get("version"), row.get("payload"));
    assert_eq!(created.body, payload);
    assert_eq!(created.etag(), format!("\"{version}-{}\"", Digest::of(&payload).prefix()));
    Ok(())
}

#[tokio::test]
async fn an_adjustment_changes_stock_by_a_difference_and_keeps_its_reason() -> anyhow::Result<()> {
    let world = World::create().await?;
    let delivered = world.post(ADJUSTMENTS, r#"{"delta":5,"reason":"delivery"}"#).await;
    assert_eq!((delivered.status.as_u16(), delivered.json()["on_hand"].as_i64()), (200, Some(5)));
    let sold = world.post(ADJUSTMENTS, r#"{"delta":-2}"#).await;
    assert_eq!((sold.status.as_u16(), sold.json()["available"].as_i64()), (200, Some(3)));
    assert_eq!(sold.etag(), world.get(STOCK).await.etag());
    let client = world.database.connect().await?;
    let kept = client.query("select delta, reason from warehouse.adjustment order by id", &[]);
    let kept: Vec<(i64, Option<String>)> =
        kept.await?.iter().map(|row| (row.get("delta"), row.get("reason"))).collect();
    assert_eq!(kept, [(5, Some("delivery".to_owned())), (-2, None)]);
    world.assert_sound().await
}

#[tokio::test]
async fn the_stock_of_a_product_is_listed_by_location_with_versions() -> anyhow::Result<()> {
    let world = World::create().await?;
    let path = "/api/v1/stock/a";
    assert_eq!(world.get(path).await.problem(), (404, "not-found".to_owned()));
    for location in ["s-2", "s-10", "S"] {
        world.put(&format!("{path}/{location}"), r#"{"on_hand":1}"#).await;
    }
    world.put("/api/v1/stock/a/s-2", r#"{"on_hand":4}"#).await;
    world.put("/api/v1/stock/a-b/s-2", r#"{"on_hand":9}"#).await;
    let listed = world.get(path).await.json();
    let at = |location: &str, on_hand: i64, version: &str| {
        json!({"location": location, "on_hand": on_hand, "reserved": 0, "available": on_hand,
            "version": version})
    };
    let locations = [at("S", 1, "1"), at("s-10", 1, "1"), at("s-2", 4, "2")];
    assert_eq!(listed, json!({"sku": "a", "locations": locations}));
    Ok(())
}

#[tokio::test]
async fn stock_is_written_only_in_the_state_that_is_named() -> anyhow::Result<()> {
    let world = World::create().await?;
    let first = world.count(1).await;
    let stale = [("if-match", first.etag())];
    let second = world.send("PUT", STOCK, &stale, r#"{"on_hand":2}"#).await;
    assert_eq!(second.status, 200);
    let wanted = crate::world::wanted(1, 60);
    for (method, path, body) in [
        ("PUT", STOCK, r#"{"on_hand":3}"#),
        ("POST", ADJUSTMENTS, r#"{"delta":1}"#),
        ("POST", crate::world::RESERVATIONS, wanted.as_str()),
        ("DELETE", STOCK, ""),
    ] {
        let answer = world.send(method, path, &stale, body).await;
        assert_eq!(answer.problem(), (412, "precondition-failed".to_owned()), "{method} {path}");
        let only_create = [("if-none-match", "*")];
        let answer = world.send(method, path, &only_create, body).await;
        assert_eq!(answer.problem().0, 412, "{method} {path}");
    }
    assert_eq!(world.get(STOCK).await.etag(), second.etag());
    let current = [("if-match", second.etag())];
    assert_eq!(world.send("POST", ADJUSTMENTS, &current, r#"{"delta":1}"#).await.status, 200);
    let headers = [("if-none-match", "*")];
    let other = "/api/v1/stock/b/s";
    assert_eq!(world.send("PUT", other, &headers, r#"{"on_hand":3}"#).await.status, 201);
    let headers = [("if-match", "*")];
    let absent = world.send("PUT", "/api/v1/stock/c/new", &headers, r#"{"on_hand":3}"#).await;
    assert_eq!(absent.problem().0, 412);
    assert_eq!(world.get("/api/v1/locations/new").await.status, 404, "nothing was half stored");
    world.assert_sound().await
}

#[tokio::test]
async fn stock_of_an_unknown_product_says_what_it_waits_for() -> anyhow::Result<()> {
    let world = World::create().await?;
    let waits = |answer: &crate::world::Answer| answer.header("syncline-waits-for").to_owned();
    let product = "catalog.products/a";
    assert_eq!(waits(&world.count(9).await), product);
    assert_eq!(waits(&world.post(ADJUSTMENTS, r#"{"delta":1}"#).await), product);
    let reserved = world.reserve(1, 60).await;
    assert_eq!(waits(&reserved), product);
    let fulfilment = format!("{}/fulfilment", reserved.header("location"));
    assert_eq!(waits(&world.post(&fulfilment, "").await), product);
    assert_eq!(waits(&world.get(STOCK).await), product);
    assert_eq!(waits(&world.get("/api/v1/stock/a").await), product);

    let client = world.database.connect().await?;
    client.execute("insert into warehouse.product (sku) values ('a')", &[]).await?;
    assert_eq!(waits(&world.count(8).await), "");
    assert_eq!(waits(&world.get(STOCK).await), "");
    assert_eq!(waits(&world.get("/api/v1/stock/a").await), "");
    Ok(())
}
