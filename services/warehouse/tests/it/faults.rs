//! A database that goes away, and an answer that is lost after the work was done.

use testkit::Proxy;

use crate::world::{RESERVATIONS, STOCK, World, app, migrated, send, service_url, wanted};

#[tokio::test]
async fn a_database_that_is_away_is_a_503_and_no_fault_of_the_request() -> anyhow::Result<()> {
    let World { database, app, .. } = World::create().await?;
    assert_eq!(send(&app, "PUT", STOCK, &[], r#"{"on_hand":1}"#).await.status, 201);
    drop(database);
    let wanted = wanted(1, 60);
    for (method, path, body) in [
        ("PUT", STOCK, r#"{"on_hand":1}"#),
        ("POST", RESERVATIONS, wanted.as_str()),
        ("GET", STOCK, ""),
        ("GET", "/api/v1/stock/a", ""),
        ("DELETE", STOCK, ""),
    ] {
        let answer = send(&app, method, path, &[], body).await;
        assert_eq!(answer.problem(), (503, "unavailable".to_owned()), "{method} {path}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    Ok(())
}

#[tokio::test]
async fn a_reservation_whose_answer_is_lost_is_repeated_by_its_key_and_made_once()
-> anyhow::Result<()> {
    let database = migrated().await?;
    let proxy = Proxy::start(&database.url()).await?;
    let (app, _) = app(&service_url(proxy.url())).await?;
    assert_eq!(send(&app, "PUT", STOCK, &[], r#"{"on_hand":9}"#).await.status, 201);
    let body = wanted(2, 60);
    let reserve = async |key: &str| {
        send(&app, "POST", RESERVATIONS, &[("idempotency-key", key)], &body).await
    };
    assert_eq!(reserve("k-1").await.status, 201);
    proxy.take();
    assert_eq!(reserve("k-2").await.status, 201);
    let commit = proxy.take();

    proxy.cut_at(commit);
    let lost = reserve("k-3").await;
    proxy.cut_at(0);
    assert_eq!(lost.problem(), (503, "unavailable".to_owned()));
    let client = database.connect().await?;
    let reserved = "select reserved from warehouse.stock";
    let reserved = async || client.query_one(reserved, &[]).await.map(|row| row.get::<_, i64>(0));
    assert_eq!(reserved().await?, 6, "the fault did not bite: the commit did not happen");
    let repeat = reserve("k-3").await;
    assert_eq!(repeat.status, 201);
    assert_eq!(reserved().await?, 6);
    assert_eq!(send(&app, "GET", repeat.header("location"), &[], "").await.status, 200);
    Ok(())
}
