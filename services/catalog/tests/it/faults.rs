//! A database that goes away, and an answer that is lost after the work was done.

use testkit::Proxy;

use crate::world::{World, app, migrated, send, service_url};

const PATH: &str = "/api/v1/products/a";

fn body(name: &str) -> String {
    format!("{{\"name\":\"{name}\",\"categories\":[],\"attributes\":{{}}}}")
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503_and_no_fault_of_the_request() -> anyhow::Result<()> {
    let World { database, app } = World::create().await?;
    assert_eq!(send(&app, "PUT", PATH, &[], &body("one")).await.status, 201);
    drop(database);
    for (method, body) in [("PUT", body("two").as_str()), ("GET", ""), ("DELETE", "")] {
        let answer = send(&app, method, PATH, &[], body).await;
        assert_eq!(answer.problem(), (503, "unavailable".to_owned()), "{method}");
        assert_eq!(answer.headers["retry-after"], "1");
    }
    Ok(())
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_repeated_by_its_key_without_a_second_effect()
-> anyhow::Result<()> {
    let database = migrated().await?;
    let proxy = Proxy::start(&database.url()).await?;
    let app = app(&service_url(proxy.url())).await?;
    let put = async |key: &str, name: &str| {
        send(&app, "PUT", PATH, &[("idempotency-key", key)], &body(name)).await
    };
    assert_eq!(put("k-1", "one").await.status, 201);
    proxy.take();
    assert_eq!(put("k-2", "two").await.status, 200);
    let commit = proxy.take();

    proxy.cut_at(commit);
    let lost = put("k-3", "three").await;
    proxy.cut_at(0);
    assert_eq!(lost.problem(), (503, "unavailable".to_owned()));
    let client = database.connect().await?;
    let changes = "select count(*) as n from outbox.change";
    let count: i64 = client.query_one(changes, &[]).await?.get("n");
    assert_eq!(count, 3, "the fault did not bite: the commit did not happen");

    let repeat = put("k-3", "three").await;
    assert_eq!(repeat.status, 200);
    assert!(repeat.etag().starts_with("\"3-"), "{}", repeat.etag());
    let count: i64 = client.query_one(changes, &[]).await?.get("n");
    assert_eq!(count, 3);
    Ok(())
}

#[tokio::test]
async fn a_connection_lost_before_the_commit_leaves_nothing() -> anyhow::Result<()> {
    let database = migrated().await?;
    let proxy = Proxy::start(&database.url()).await?;
    let app = app(&service_url(proxy.url())).await?;
    let one = send(&app, "PUT", PATH, &[], &body("one")).await;
    assert_eq!(one.status, 201);
    // With a condition the commit is not sent before the row was seen.
    let condition = [("if-match", one.etag())];
    proxy.cut_at(1);
    let lost = send(&app, "PUT", PATH, &condition, &body("two")).await;
    proxy.cut_at(0);
    assert_eq!(lost.problem(), (503, "unavailable".to_owned()));
    let read = send(&app, "GET", PATH, &[], "").await;
    assert_eq!(read.json()["name"], "one");
    assert_eq!(send(&app, "PUT", PATH, &condition, &body("two")).await.status, 200);
    Ok(())
}

#[tokio::test]
async fn an_answer_lost_with_its_only_round_trip_leaves_row_and_change_or_neither()
-> anyhow::Result<()> {
    let database = migrated().await?;
    let proxy = Proxy::start(&database.url()).await?;
    let app = app(&service_url(proxy.url())).await?;
    assert_eq!(send(&app, "PUT", PATH, &[], &body("one")).await.status, 201);
    proxy.cut_at(1);
    let lost = send(&app, "PUT", PATH, &[], &body("two")).await;
    proxy.cut_at(0);
    assert_eq!(lost.problem(), (503, "unavailable".to_owned()));
    let client = database.connect().await?;
    let both = "select (select max(version) from outbox.change) as changed,
                       (select revision from catalog.product) as stored";
    let row = client.query_one(both, &[]).await?;
    let stored: i64 = row.get("stored");
    assert_eq!(stored, 2, "the fault did not bite: the commit did not happen");
    assert_eq!(row.get::<_, i64>("changed"), stored);
    let repeat = send(&app, "PUT", PATH, &[], &body("two")).await;
    assert!(repeat.status == 200 && repeat.etag().starts_with("\"2-"), "{repeat:?}");
    Ok(())
}
