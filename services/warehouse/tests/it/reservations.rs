//! From a promise of stock to its end.

use crate::world::{RESERVATIONS, STOCK, World};

#[tokio::test]
async fn what_is_reserved_is_not_available_until_it_is_released() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(5).await;
    let made = world.reserve(2, 60).await;
    assert_eq!(made.status, 201);
    let (path, body) = (made.header("location").to_owned(), made.json());
    let id = body["id"].as_str().expect("an id");
    assert_eq!(path, format!("{RESERVATIONS}/{id}"));
    assert_eq!(id.as_bytes()[14], b'7', "a UUID of version 7: {id}");
    assert_eq!((&body["state"], &body["quantity"]), (&"open".into(), &2.into()));
    let until: chrono::DateTime<chrono::Utc> =
        body["expires_at"].as_str().expect("a time").parse()?;
    assert!(body["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{body}");
    let left = (until - chrono::Utc::now()).num_seconds();
    assert!((50..=60).contains(&left), "{left}");
    assert_eq!(world.level().await, (5, 2, 3));
    assert_eq!(world.get(&path).await.json(), body);

    assert_eq!(world.delete(&path).await.status, 204);
    assert_eq!(world.level().await, (5, 0, 5));
    assert_eq!(world.get(&path).await.json()["state"], "released");
    for (method, path) in [("DELETE", path.clone()), ("POST", format!("{path}/fulfilment"))] {
        let ended = world.send(method, &path, &[], "").await;
        assert_eq!(ended.problem(), (410, "reservation-ended".to_owned()));
    }
    assert_eq!(world.level().await, (5, 0, 5));
    world.assert_sound().await
}

#[tokio::test]
async fn a_fulfilment_sells_what_was_reserved() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(5).await;
    let path = world.reserve(2, 60).await.header("location").to_owned();
    let sold = world.post(&format!("{path}/fulfilment"), "").await;
    assert_eq!((sold.status.as_u16(), sold.json()["on_hand"].as_i64()), (200, Some(3)));
    let read = world.get(STOCK).await;
    assert_eq!((read.etag(), &read.body), (sold.etag(), &sold.body));
    assert_eq!(world.level().await, (3, 0, 3));
    assert_eq!(world.get(&path).await.json()["state"], "fulfilled");
    assert_eq!(world.delete(&path).await.problem().0, 410);
    world.assert_sound().await
}

#[tokio::test]
async fn stock_with_an_open_reservation_is_neither_deleted_nor_counted_away() -> anyhow::Result<()>
{
    let world = World::create().await?;
    world.count(5).await;
    let path = world.reserve(2, 60).await.header("location").to_owned();
    assert_eq!(world.delete(STOCK).await.problem(), (409, "reserved".to_owned()));
    let refused = world.count(1).await;
    assert_eq!(refused.problem(), (409, "below-reserved".to_owned()));
    assert_eq!(refused.field(), ("/on_hand".to_owned(), "below-reserved".to_owned()));
    assert_eq!(world.count(2).await.status, 200);
    assert_eq!(world.level().await, (2, 2, 0));
    world.delete(&path).await;
    assert_eq!(world.delete(STOCK).await.status, 204);
    assert_eq!(world.get(&path).await.json()["state"], "released", "it outlives its stock");
    assert_eq!(world.delete(&path).await.problem().0, 410);
    world.assert_sound().await
}

#[tokio::test]
async fn a_reservation_that_never_was_is_not_found() -> anyhow::Result<()> {
    let world = World::create().await?;
    let path = format!("{RESERVATIONS}/01890000-0000-7000-8000-000000000000");
    assert_eq!(world.get(&path).await.problem(), (404, "not-found".to_owned()));
    assert_eq!(world.delete(&path).await.problem().0, 404);
    assert_eq!(world.post(&format!("{path}/fulfilment"), "").await.problem().0, 404);
    let odd = world.get(&format!("{RESERVATIONS}/7")).await;
    assert_eq!(odd.problem(), (422, "invalid".to_owned()));
    assert_eq!(odd.field(), ("/id".to_owned(), "no-uuid".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_condition_on_the_end_of_a_reservation_names_its_stock() -> anyhow::Result<()> {
    let world = World::create().await?;
    let old = world.count(5).await;
    let path = world.reserve(2, 60).await.header("location").to_owned();
    let stale = [("if-match", old.etag())];
    assert_eq!(world.send("DELETE", &path, &stale, "").await.problem().0, 412);
    let fulfilment = format!("{path}/fulfilment");
    assert_eq!(world.send("POST", &fulfilment, &stale, "").await.problem().0, 412);
    assert_eq!(world.level().await, (5, 2, 3));
    let now = world.get(STOCK).await;
    let current = [("if-match", now.etag())];
    assert_eq!(world.send("POST", &fulfilment, &current, "").await.status, 200);
    world.assert_sound().await
}
