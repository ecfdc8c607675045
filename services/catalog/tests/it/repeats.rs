//! Requests that are sent more than once under one Idempotency-Key.

use crate::world::World;

const PATH: &str = "/api/v1/products/a";
const ONE: &str = r#"{"name":"one","categories":[],"attributes":{}}"#;
const TWO: &str = r#"{"name":"two","categories":[],"attributes":{}}"#;
const KEY: (&str, &str) = ("idempotency-key", "k-1");

#[tokio::test]
async fn a_repeat_is_given_the_stored_answer_and_does_nothing() -> anyhow::Result<()> {
    let world = World::create().await?;
    let first = world.send("PUT", PATH, &[KEY], ONE).await;
    world.put(PATH, TWO).await;
    let repeat = world.send("PUT", PATH, &[KEY], ONE).await;
    assert_eq!((repeat.status.as_u16(), first.status.as_u16()), (201, 201));
    assert_eq!((repeat.etag(), &repeat.body), (first.etag(), &first.body));
    assert_eq!(world.get(PATH).await.json()["name"], "two");
    assert_eq!(world.stored().await?, [1, 0, 1, 2, 1]);
    Ok(())
}

#[tokio::test]
async fn a_repeated_delete_stays_done() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.put(PATH, ONE).await;
    for _ in 0..2 {
        assert_eq!(world.send("DELETE", PATH, &[KEY], "").await.status, 204);
    }
    assert_eq!(world.send("DELETE", PATH, &[], "").await.status, 404);
    Ok(())
}

#[tokio::test]
async fn a_repeat_may_spell_its_path_another_way() -> anyhow::Result<()> {
    let world = World::create().await?;
    let first = world.send("PUT", "/api/v1/products/KEY-1", &[KEY], ONE).await;
    let repeat = world.send("PUT", "/api/v1/products/K%45Y%2D1", &[KEY], ONE).await;
    assert_eq!((repeat.status.as_u16(), repeat.etag()), (201, first.etag()));
    assert_eq!(world.stored().await?, [1, 0, 1, 1, 1]);
    Ok(())
}

#[tokio::test]
async fn a_key_of_another_request_is_refused() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.send("PUT", PATH, &[KEY], ONE).await;
    let reused = (422, "idempotency-key-reused".to_owned());
    assert_eq!(world.send("PUT", PATH, &[KEY], TWO).await.problem(), reused);
    assert_eq!(world.send("PUT", "/api/v1/products/b", &[KEY], ONE).await.problem(), reused);
    assert_eq!(world.send("DELETE", PATH, &[KEY], "").await.problem(), reused);
    let body = r#"{"name":"one","parent":null}"#;
    let key = [("idempotency-key", "k-2")];
    world.send("PUT", "/api/v1/categories/a", &key, body).await;
    assert_eq!(world.send("PUT", "/api/v1/categories/b", &key, body).await.problem(), reused);
    assert_eq!(world.send("DELETE", "/api/v1/products/a", &key, "").await.problem(), reused);
    assert_eq!(world.stored().await?, [1, 1, 2, 2, 2]);
    Ok(())
}

#[tokio::test]
async fn a_refused_request_does_not_use_its_key_up() -> anyhow::Result<()> {
    let world = World::create().await?;
    let refused = world.send("PUT", PATH, &[KEY, ("if-match", "*")], ONE).await;
    assert_eq!(refused.status, 412);
    assert_eq!(world.stored().await?, [0; 5]);
    assert_eq!(world.send("PUT", PATH, &[KEY], TWO).await.status, 201);
    Ok(())
}

#[tokio::test]
async fn while_a_request_is_at_work_its_repeat_is_told_to_wait() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.put(PATH, ONE).await;
    // Another writer holds the record, so that the first sending has to wait with its key taken.
    let mut client = world.database.connect().await?;
    let blocker = client.transaction().await?;
    blocker.execute("select from catalog.product where sku = 'a' for update", &[]).await?;
    let headers = [KEY];
    let first = world.send("PUT", PATH, &headers, TWO);
    let others = async {
        testkit::eventually("the key is taken", || async {
            let taken = "select from pg_locks where locktype = 'advisory' and granted
                and database = (select oid from pg_database where datname = current_database())";
            Ok(!world.database.connect().await?.query(taken, &[]).await?.is_empty())
        })
        .await;
        let second = world.send("PUT", PATH, &[KEY], TWO).await;
        assert_eq!(second.problem(), (409, "still-running".to_owned()));
        blocker.commit().await
    };
    let (first, unblocked) = tokio::join!(first, others);
    unblocked?;
    assert_eq!(first.status, 200);
    assert_eq!(world.send("PUT", PATH, &[KEY], TWO).await.status, 200);
    assert_eq!(world.stored().await?, [1, 0, 1, 2, 1]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sendings_at_the_same_time_take_effect_once() -> anyhow::Result<()> {
    let world = World::create().await?;
    for round in 0..20 {
        let key = format!("round-{round}");
        let headers = [("idempotency-key", key.as_str())];
        let body = format!(r#"{{"name":"{round}","categories":[],"attributes":{{}}}}"#);
        let sendings = (0..4).map(|_| world.send("PUT", PATH, &headers, &body));
        for answer in futures::future::join_all(sendings).await {
            assert!([200, 201, 409].contains(&answer.status.as_u16()), "{answer:?}");
        }
    }
    assert_eq!(world.stored().await?, [1, 0, 1, 20, 20]);
    Ok(())
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.send("PUT", PATH, &[KEY], ONE).await;
    let client = world.database.connect().await?;
    let age = "update records.answer set stored_at = now() - interval '25 hours'";
    client.execute(age, &[]).await?;
    assert_eq!(world.send("PUT", PATH, &[KEY], TWO).await.status, 200);
    assert_eq!(world.stored().await?, [1, 0, 1, 2, 1]);
    Ok(())
}

#[tokio::test]
async fn an_odd_key_is_refused() -> anyhow::Result<()> {
    let world = World::create().await?;
    let long = "k".repeat(256);
    for key in ["", &long] {
        let answer = world.send("PUT", PATH, &[("idempotency-key", key)], ONE).await;
        assert_eq!(answer.problem(), (400, "malformed-idempotency-key".to_owned()));
    }
    let both = [KEY, ("idempotency-key", "k-2")];
    assert_eq!(world.send("PUT", PATH, &both, ONE).await.status, 400);
    Ok(())
}
