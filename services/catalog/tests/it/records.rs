//! Writing, reading and deleting records.

use contracts::Digest;
use serde_json::json;

use crate::world::World;

const PATH: &str = "/api/v1/products/MH01-XS-Black";
const SMALLEST: &str = r#"{"name":"Chaz","categories":[],"attributes":{}}"#;

#[tokio::test]
async fn a_product_is_created_replaced_and_deleted() -> anyhow::Result<()> {
    let world = World::create().await?;
    assert_eq!(world.get(PATH).await.problem(), (404, "not-found".to_owned()));

    let created = world.put(PATH, SMALLEST).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.headers["location"], PATH);
    let product = json!({"sku":"MH01-XS-Black","name":"Chaz","categories":[],"attributes":{}});
    assert_eq!(created.json(), product);

    let full = r#"{"name":"Chaz","categories":["men.tops","new"],
        "attributes":{"color":"Black","weight":0.5,"pieces":2.0,"warm":true}}"#;
    let replaced = world.put(PATH, full).await;
    assert_eq!(replaced.status, 200);
    assert!(replaced.etag().starts_with("\"2-"), "{}", replaced.etag());
    let attributes = json!({"color":"Black","weight":0.5,"pieces":2,"warm":true});
    assert_eq!(replaced.json()["attributes"], attributes);

    let read = world.get(PATH).await;
    assert_eq!((read.status.as_u16(), read.etag()), (200, replaced.etag()));
    assert_eq!(read.headers["content-type"], "application/json");
    assert_eq!(read.body, replaced.body);

    let deleted = world.send("DELETE", PATH, &[], "").await;
    assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
    assert_eq!(world.get(PATH).await.status, 404);
    assert_eq!(world.send("DELETE", PATH, &[], "").await.problem().0, 404);

    // Versions never restart: the deletion was 3.
    let again = world.put(PATH, SMALLEST).await;
    assert_eq!(again.status, 201);
    assert!(again.etag().starts_with("\"4-"), "{}", again.etag());
    assert_eq!(world.stored().await?, [1, 0, 1, 4, 0]);
    Ok(())
}

#[tokio::test]
async fn a_category_is_created_replaced_and_deleted() -> anyhow::Result<()> {
    let world = World::create().await?;
    let path = "/api/v1/categories/men.tops";
    let created = world.put(path, r#"{"name":"Tops","parent":"men"}"#).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.json(), json!({"id":"men.tops","name":"Tops","parent":"men"}));
    assert_eq!(world.put(path, r#"{"name":"Tops","parent":null}"#).await.status, 200);
    assert_eq!(world.get(path).await.json()["parent"], json!(null));
    assert_eq!(world.send("DELETE", path, &[], "").await.status, 204);
    assert_eq!(world.get(path).await.status, 404);
    assert_eq!(world.stored().await?, [0, 0, 1, 3, 0]);
    Ok(())
}

#[tokio::test]
async fn the_tag_is_version_and_digest_of_the_published_bytes() -> anyhow::Result<()> {
    let world = World::create().await?;
    let created = world.put(PATH, SMALLEST).await;
    let client = world.database.connect().await?;
    let row = client.query_one("select version, payload from outbox.current", &[]).await?;
    let (version, payload): (i64, Vec<u8>) = (row.get("version"), row.get("payload"));
    assert_eq!(created.body, payload);
    assert_eq!(created.etag(), format!("\"{version}-{}\"", Digest::of(&payload).prefix()));
    Ok(())
}

#[tokio::test]
async fn an_equal_record_changes_nothing() -> anyhow::Result<()> {
    let world = World::create().await?;
    let first = world.put(PATH, r#"{"name":"A","categories":[],"attributes":{"b":1,"a":2}}"#).await;
    let same = r#"{"attributes":{"a":2.0,"b":1e0},"categories":[],"name":"A"}"#;
    let second = world.put(PATH, same).await;
    assert_eq!((second.status.as_u16(), second.etag()), (200, first.etag()));
    assert_eq!(world.stored().await?, [1, 0, 1, 1, 0]);
    Ok(())
}

#[tokio::test]
async fn what_was_read_may_be_put_back_as_it_is() -> anyhow::Result<()> {
    let world = World::create().await?;
    let created = world.put(PATH, SMALLEST).await;
    let body = String::from_utf8(created.body.to_vec())?;
    let back = world.put(PATH, &body).await;
    assert_eq!((back.status.as_u16(), back.etag()), (200, created.etag()));
    let other = world.put("/api/v1/products/other", &body).await;
    assert_eq!(other.problem().0, 422);
    assert_eq!(other.field(), ("/sku".to_owned(), "not-as-in-path".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_reader_that_holds_the_current_state_is_told_so() -> anyhow::Result<()> {
    let world = World::create().await?;
    let created = world.put(PATH, SMALLEST).await;
    let headers = [("if-none-match", created.etag())];
    let unchanged = world.send("GET", PATH, &headers, "").await;
    assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.etag(), created.etag());
    world.put(PATH, r#"{"name":"New","categories":[],"attributes":{}}"#).await;
    assert_eq!(world.send("GET", PATH, &headers, "").await.status, 200);
    Ok(())
}
