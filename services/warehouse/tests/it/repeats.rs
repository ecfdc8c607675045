//! Requests that are sent more than once under one Idempotency-Key.

use futures::future::join_all;

use crate::world::{RESERVATIONS, STOCK, World, wanted};

const ADJUSTMENTS: &str = "/api/v1/stock/a/s/adjustments";
const KEY: (&str, &str) = ("idempotency-key", "k-1");

#[tokio::test]
async fn a_repeated_reservation_is_given_the_same_answer_and_reserves_once() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(5).await;
    let first = world.send("POST", RESERVATIONS, &[KEY], &wanted(2, 60)).await;
    assert_eq!(first.status, 201);
    world.count(9).await;
    let repeat = world.send("POST", RESERVATIONS, &[KEY], &wanted(2, 60)).await;
    assert_eq!((repeat.status, &repeat.body), (first.status, &first.body));
    assert_eq!(repeat.header("location"), first.header("location"));
    assert_eq!(repeat.header("syncline-waits-for"), "catalog.products/a");
    assert_eq!(world.level().await, (9, 2, 7));
    let other = world.send("POST", RESERVATIONS, &[KEY], &wanted(3, 60)).await;
    assert_eq!(other.problem(), (422, "idempotency-key-reused".to_owned()));
    assert_eq!(world.level().await, (9, 2, 7));
    world.assert_sound().await
}

#[tokio::test]
async fn a_repeated_adjustment_fulfilment_or_release_takes_effect_once() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(5).await;
    let sold = world.reserve(2, 60).await.header("location").to_owned() + "/fulfilment";
    let released = world.reserve(1, 60).await.header("location").to_owned();
    for (key, method, path, body, status) in [
        ("k-1", "POST", ADJUSTMENTS, r#"{"delta":-1,"reason":"sale"}"#, 200),
        ("k-2", "POST", sold.as_str(), "", 200),
        ("k-3", "DELETE", released.as_str(), "", 204),
    ] {
        let headers = [("idempotency-key", key)];
        let first = world.send(method, path, &headers, body).await;
        let repeat = world.send(method, path, &headers, body).await;
        assert_eq!((first.status.as_u16(), repeat.status.as_u16()), (status, status), "{path}");
        assert_eq!((first.etag(), &first.body), (repeat.etag(), &repeat.body), "{path}");
    }
    assert_eq!(world.level().await, (2, 0, 2));
    let headers = [("idempotency-key", "k-2")];
    let other = world.send("POST", ADJUSTMENTS, &headers, r#"{"delta":1}"#).await;
    assert_eq!(other.problem(), (422, "idempotency-key-reused".to_owned()));
    world.assert_sound().await
}

#[tokio::test]
async fn a_refused_reservation_does_not_use_its_key_up() -> anyhow::Result<()> {
    let world = World::create().await?;
    let refused = world.send("POST", RESERVATIONS, &[KEY], &wanted(1, 60)).await;
    assert_eq!(refused.problem().0, 409);
    assert_eq!(world.stored().await?, [0; 6]);
    world.count(1).await;
    assert_eq!(world.send("POST", RESERVATIONS, &[KEY], &wanted(1, 60)).await.status, 201);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sendings_at_the_same_time_take_effect_once() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(100).await;
    for round in 0..10 {
        let key = format!("round-{round}");
        let headers = [("idempotency-key", key.as_str())];
        let body = wanted(1, 60);
        let reserve = (0..4).map(|_| world.send("POST", RESERVATIONS, &headers, &body));
        for answer in join_all(reserve).await {
            assert!([201, 409].contains(&answer.status.as_u16()), "{answer:?}");
        }
        let key = format!("count-{round}");
        let headers = [("idempotency-key", key.as_str())];
        let sell = (0..4).map(|_| world.send("POST", ADJUSTMENTS, &headers, r#"{"delta":-1}"#));
        for answer in join_all(sell).await {
            assert!([200, 409].contains(&answer.status.as_u16()), "{answer:?}");
        }
    }
    assert_eq!(world.level().await, (90, 10, 80));
    world.assert_sound().await
}

#[tokio::test]
async fn while_a_request_is_at_work_its_repeat_is_told_to_wait() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(5).await;
    // Another writer holds the stock, so that the first sending has to wait with its key taken.
    let mut client = world.database.connect().await?;
    let blocker = client.transaction().await?;
    blocker.execute("select from warehouse.stock for update", &[]).await?;
    let (headers, body) = ([KEY], wanted(1, 60));
    let first = world.send("POST", RESERVATIONS, &headers, &body);
    let others = async {
        testkit::eventually("the key is taken", || async {
            let taken = "select from pg_locks where locktype = 'advisory' and granted
                and database = (select oid from pg_database where datname = current_database())";
            Ok(!world.database.connect().await?.query(taken, &[]).await?.is_empty())
        })
        .await;
        let second = world.send("POST", RESERVATIONS, &[KEY], &body).await;
        assert_eq!(second.problem(), (409, "still-running".to_owned()));
        blocker.commit().await
    };
    let (first, unblocked) = tokio::join!(first, others);
    unblocked?;
    assert_eq!(first.status, 201);
    assert_eq!(world.level().await, (5, 1, 4));
    assert_eq!(world.get(STOCK).await.status, 200);
    Ok(())
}
