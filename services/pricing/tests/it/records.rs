//! Writing, reading and deleting prices and promotions.

use contracts::Digest;
use serde_json::json;

use crate::world::World;

const PRICE: &str = "/api/v1/prices/MH01-XS-Black";
const PROMOTION: &str = "/api/v1/promotions/summer";
const ALWAYS: &str = r#"[{"starts_at":"2020-01-01T00:00:00Z","ends_at":"9999-12-31T23:59:59Z"}]"#;

fn promotion(skus: &[&str], percent_off: &str, periods: &str) -> String {
    let skus = json!(skus);
    format!(r#"{{"skus":{skus},"percent_off":"{percent_off}","periods":{periods}}}"#)
}

#[tokio::test]
async fn a_price_is_created_replaced_and_deleted() -> anyhow::Result<()> {
    let world = World::create().await?;
    assert_eq!(world.get(PRICE).await.problem(), (404, "not-found".to_owned()));
    let created = world.put(PRICE, r#"{"currency":"USD","amount":"59"}"#).await;
    assert_eq!((created.status.as_u16(), created.header("location")), (201, PRICE));
    let price = json!({"sku":"MH01-XS-Black","currency":"USD","amount":"59.00",
        "effective":"59.00","promotion":null,"until":null});
    assert_eq!(created.json(), price);

    let same = world.put(PRICE, r#"{"amount":"59.00","currency":"USD"}"#).await;
    assert_eq!((same.status.as_u16(), same.etag()), (200, created.etag()));
    let replaced = world.put(PRICE, r#"{"currency":"JPY","amount":"8000"}"#).await;
    assert_eq!(replaced.status, 200);
    assert!(replaced.etag().starts_with("\"2-"), "{}", replaced.etag());
    let read = world.get(PRICE).await;
    assert_eq!((read.etag(), &read.body), (replaced.etag(), &replaced.body));

    assert_eq!(world.send("DELETE", PRICE, &[], "").await.status, 204);
    assert_eq!(world.get(PRICE).await.status, 404);
    assert_eq!(world.send("DELETE", PRICE, &[], "").await.problem().0, 404);
    // Versions never restart: the deletion was 3.
    let again = world.put(PRICE, r#"{"currency":"USD","amount":"1"}"#).await;
    assert_eq!(again.status, 201);
    assert!(again.etag().starts_with("\"4-"), "{}", again.etag());
    assert_eq!(world.stored().await?, [1, 0, 1, 4]);
    Ok(())
}

#[tokio::test]
async fn a_promotion_is_created_replaced_and_deleted_and_its_prices_follow() -> anyhow::Result<()> {
    let world = World::create().await?;
    for sku in ["a", "b"] {
        world.price(sku, "10.00").await;
    }
    let created = world.put(PROMOTION, &promotion(&["b", "a", "later"], "20.00", ALWAYS)).await;
    assert_eq!((created.status.as_u16(), created.header("location")), (201, PROMOTION));
    assert_eq!(
        created.json(),
        json!({"id":"summer","skus":["a","b","later"],"percent_off":"20",
            "periods":[{"starts_at":"2020-01-01T00:00:00Z","ends_at":"9999-12-31T23:59:59Z"}]})
    );
    assert_eq!(world.get(PROMOTION).await.body, created.body);
    let price = world.get("/api/v1/prices/a").await.json();
    assert_eq!(
        price,
        json!({"sku":"a","currency":"USD","amount":"10.00","effective":"8.00",
            "promotion":"summer","until":"9999-12-31T23:59:59Z"})
    );
    // A product that the promotion names before it has a price.
    let later = world.price("later", "5.00").await.json();
    assert_eq!((&later["effective"], &later["promotion"]), (&json!("4.00"), &json!("summer")));

    // Named no more: its price is the list price again.
    let body = promotion(&["b"], "50", ALWAYS);
    assert_eq!(world.put(PROMOTION, &body).await.status, 200);
    assert_eq!(world.costs("a").await, ("10.00".to_owned(), String::new(), false));
    assert_eq!(world.costs("b").await, ("5.00".to_owned(), "summer".to_owned(), true));
    let changes = world.stored().await?;
    assert_eq!(world.put(PROMOTION, &body).await.status, 200);
    assert_eq!(world.stored().await?, changes, "an equal promotion changes nothing");

    // A price that goes and comes again meets the promotion.
    world.send("DELETE", "/api/v1/prices/b", &[], "").await;
    assert_eq!(world.price("b", "3.00").await.json()["effective"], "1.50");

    assert_eq!(world.send("DELETE", PROMOTION, &[], "").await.status, 204);
    assert_eq!(world.get(PROMOTION).await.status, 404);
    assert_eq!(world.send("DELETE", PROMOTION, &[], "").await.problem().0, 404);
    assert_eq!(world.costs("b").await, ("3.00".to_owned(), String::new(), false));
    Ok(())
}

#[tokio::test]
async fn of_several_promotions_the_lowest_price_wins_and_then_the_first_id() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.price("a", "10.00").await;
    for (id, percent_off) in [("c", "20"), ("b", "20"), ("a", "10")] {
        let path = format!("/api/v1/promotions/{id}");
        world.put(&path, &promotion(&["a"], percent_off, ALWAYS)).await;
    }
    assert_eq!(world.costs("a").await, ("8.00".to_owned(), "b".to_owned(), true));
    world.send("DELETE", "/api/v1/promotions/b", &[], "").await;
    assert_eq!(world.costs("a").await.1, "c");
    world.send("DELETE", "/api/v1/promotions/c", &[], "").await;
    assert_eq!(world.costs("a").await, ("9.00".to_owned(), "a".to_owned(), true));
    Ok(())
}

#[tokio::test]
async fn what_was_read_of_a_promotion_may_be_put_back_as_it_is() -> anyhow::Result<()> {
    let world = World::create().await?;
    let periods = r#"[{"starts_at":"2026-03-01T00:00:00+01:00","ends_at":"2026-04-01T00:00:00Z"},
        {"starts_at":"2026-01-01T00:00:00.5Z","ends_at":"2026-02-01T00:00:00.000001Z"}]"#;
    let created = world.put(PROMOTION, &promotion(&["a"], "12.50", periods)).await;
    let first = &created.json()["periods"][0];
    assert_eq!(first["starts_at"], "2026-01-01T00:00:00.500Z");
    assert_eq!(first["ends_at"], "2026-02-01T00:00:00.000001Z");
    let body = String::from_utf8(created.body.to_vec())?;
    let back = world.put(PROMOTION, &body).await;
    assert_eq!((back.status.as_u16(), back.etag()), (200, created.etag()));
    let other = world.put("/api/v1/promotions/other", &body).await;
    assert_eq!(other.fields(), [("/id".to_owned(), "not-as-in-path".to_owned())]);
    Ok(())
}

#[tokio::test]
async fn the_tag_is_version_and_digest_of_the_published_bytes() -> anyhow::Result<()> {
    let world = World::create().await?;
    let created = world.price("a", "59").await;
    let client = world.database.connect().await?;
    let row = client.query_one("select version, payload from outbox.current", &[]).await?;
    let (version, payload): (i64, Vec<u8>) = (row.get("version"), row.get("payload"));
    assert_eq!(created.body, payload);
    assert_eq!(created.etag(), format!("\"{version}-{}\"", Digest::of(&payload).prefix()));
    Ok(())
}

#[tokio::test]
async fn a_write_over_an_unseen_state_is_refused_and_leaves_nothing() -> anyhow::Result<()> {
    let world = World::create().await?;
    let seen = world.price("a", "10.00").await;
    let path = "/api/v1/prices/a";
    let body = r#"{"currency":"USD","amount":"11.00"}"#;
    // A promotion changes the price, and so its state.
    world.put(PROMOTION, &promotion(&["a"], "20", ALWAYS)).await;
    let stored = world.stored().await?;
    let stale = world.send("PUT", path, &[("if-match", seen.etag())], body).await;
    assert_eq!(stale.problem(), (412, "precondition-failed".to_owned()));
    let stale = [("if-match", "\"1-00000000\"")];
    let other = promotion(&["b"], "50", ALWAYS);
    assert_eq!(world.send("PUT", PROMOTION, &stale, &other).await.status, 412);
    assert_eq!(world.send("DELETE", PROMOTION, &stale, "").await.status, 412);
    assert_eq!(world.stored().await?, stored);
    assert_eq!(world.costs("a").await, ("8.00".to_owned(), "summer".to_owned(), true));
    Ok(())
}

#[tokio::test]
async fn a_repeat_under_its_key_is_given_the_stored_answer() -> anyhow::Result<()> {
    let world = World::create().await?;
    let path = "/api/v1/prices/a";
    let key = [("idempotency-key", "k-1")];
    let (one, two) = (r#"{"currency":"USD","amount":"1"}"#, r#"{"currency":"USD","amount":"2"}"#);
    let first = world.send("PUT", path, &key, one).await;
    world.put(path, two).await;
    let repeat = world.send("PUT", path, &key, one).await;
    assert_eq!((repeat.status.as_u16(), repeat.etag()), (201, first.etag()));
    assert_eq!(repeat.header("syncline-waits-for"), "catalog.products/a");
    assert_eq!(world.get(path).await.json()["amount"], "2.00");
    let reused = world.send("PUT", path, &key, two).await;
    assert_eq!(reused.problem(), (422, "idempotency-key-reused".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_price_before_its_product_is_stored_and_says_what_it_waits_for() -> anyhow::Result<()> {
    let world = World::create().await?;
    let waits = "catalog.products/a";
    let created = world.price("a", "10.00").await;
    assert_eq!((created.status.as_u16(), created.header("syncline-waits-for")), (201, waits));
    assert_eq!(world.get("/api/v1/prices/a").await.header("syncline-waits-for"), waits);
    world.hear("a", Some(pricing::Product {})).await?;
    let known = world.get("/api/v1/prices/a").await;
    assert_eq!((known.status.as_u16(), known.header("syncline-waits-for")), (200, ""));
    assert_eq!(world.price("a", "11.00").await.header("syncline-waits-for"), "");
    // A product that goes leaves its price.
    world.hear("a", None).await?;
    assert_eq!(world.get("/api/v1/prices/a").await.header("syncline-waits-for"), waits);
    assert_eq!(world.costs("a").await.0, "11.00");
    Ok(())
}
