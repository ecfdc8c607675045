//! Writing, reading and deleting locations.

use futures::future::join_all;
use serde_json::json;

use crate::world::{STOCK, World};

const PATH: &str = "/api/v1/locations/s";

#[tokio::test]
async fn a_location_is_created_replaced_and_deleted() -> anyhow::Result<()> {
    let world = World::create().await?;
    let body =
        r#"{"name":"Mall of America","city":"Bloomington","region":"MN","postcode":"55425"}"#;
    let created = world.put(PATH, body).await;
    assert_eq!((created.status.as_u16(), created.header("location")), (201, PATH));
    let whole = json!({"id": "s", "name": "Mall of America", "city": "Bloomington",
        "region": "MN", "postcode": "55425"});
    assert_eq!(created.json(), whole);
    let back = String::from_utf8(created.body.to_vec())?;
    assert_eq!(world.put(PATH, &back).await.etag(), created.etag());
    assert_eq!(world.put(PATH, r#"{"city":"Tempe"}"#).await.status, 200);
    let read = world.get(PATH).await.json();
    assert_eq!((&read["name"], &read["city"]), (&json!(null), &json!("Tempe")));
    assert_eq!(world.delete(PATH).await.status, 204);
    assert_eq!(world.get(PATH).await.problem().0, 404);
    assert_eq!(world.delete(PATH).await.problem().0, 404);
    assert_eq!(world.stored().await?, [0, 0, 0, 1, 3, 0]);
    Ok(())
}

#[tokio::test]
async fn a_location_that_stock_named_first_is_described_later() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(1).await;
    assert_eq!(world.put(PATH, r#"{"name":"Store"}"#).await.status, 200);
    world.count(2).await;
    world.put("/api/v1/stock/b/s", r#"{"on_hand":1}"#).await;
    assert_eq!(world.get(PATH).await.json()["name"], "Store", "no stock describes a location");
    Ok(())
}

#[tokio::test]
async fn a_location_that_nobody_published_is_published_by_the_next_write() -> anyhow::Result<()> {
    let world = World::create().await?;
    let left = "insert into warehouse.location (id, city)
        values ('s', 'Tempe'), ('t', null), ('u', null);
        insert into warehouse.stock (sku, location) values ('a', 's')";
    world.database.connect().await?.batch_execute(left).await?;
    world.count(1).await;
    assert_eq!(world.get(PATH).await.json()["city"], "Tempe", "of stock that there was");
    world.put("/api/v1/stock/a/t", r#"{"on_hand":1}"#).await;
    assert_eq!(world.get("/api/v1/locations/t").await.status, 200, "of new stock");
    let (path, ndjson) = ("/api/v1/locations/import", ("content-type", "application/x-ndjson"));
    let imported = world.send("POST", path, &[ndjson], r#"{"id":"u"}"#).await;
    assert_eq!(imported.json()["stored"], 1, "of an equal line");
    let repeated = world.send("POST", path, &[ndjson], r#"{"id":"u"}"#).await;
    assert_eq!(repeated.json()["unchanged"], 1);
    world.assert_sound().await
}

#[tokio::test]
async fn a_location_with_stock_is_not_deleted() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(0).await;
    assert_eq!(world.delete(PATH).await.problem(), (409, "has-stock".to_owned()));
    assert_eq!(world.get(PATH).await.status, 200);
    world.delete(STOCK).await;
    assert_eq!(world.delete(PATH).await.status, 204);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_location_that_comes_and_goes_under_its_stock_is_never_missing() -> anyhow::Result<()> {
    let world = World::create().await?;
    for round in 0..20 {
        let writes = (0..8).map(|n| {
            let path = format!("/api/v1/stock/{round}-{n}/s");
            let world = &world;
            async move { world.put(&path, r#"{"on_hand":1}"#).await.status.as_u16() }
        });
        let deletes = (0..4).map(|_| async { world.delete(PATH).await.status.as_u16() });
        let (written, deleted) = tokio::join!(join_all(writes), join_all(deletes));
        assert!(written.iter().all(|status| *status == 201), "{written:?}");
        let known = |status: &u16| [204, 404, 409].contains(status);
        assert!(deleted.iter().all(known), "{deleted:?}");
        for n in 0..8 {
            assert_eq!(world.delete(&format!("/api/v1/stock/{round}-{n}/s")).await.status, 204);
        }
    }
    let client = world.database.connect().await?;
    let agree = "select (select count(*) from warehouse.location) = (select count(*)
        from outbox.current where topic = 'warehouse.locations' and not deleted) as agree";
    assert!(client.query_one(agree, &[]).await?.get::<_, bool>("agree"));
    world.assert_sound().await
}
