//! How often a request waits for the database, counted on the wire.

use testkit::Proxy;

use crate::world::{RESERVATIONS, STOCK, app, migrated, send, service_url, wanted};

#[tokio::test]
async fn a_write_costs_two_round_trips_and_a_read_one() -> anyhow::Result<()> {
    let database = migrated().await?;
    let proxy = Proxy::start(&database.url()).await?;
    let (app, _) = app(&service_url(proxy.url())).await?;
    let count = async |on_hand: u32| {
        let body = format!("{{\"on_hand\":{on_hand}}}");
        send(&app, "PUT", STOCK, &[], &body).await.status.as_u16()
    };
    assert_eq!(count(1_000).await, 201);
    for round in 0..2 {
        let mut trips = Vec::new();
        let mut ask = async |method: &str, path: &str, body: &str| {
            proxy.take();
            let answer = send(&app, method, path, &[], body).await;
            assert!(answer.status.is_success(), "{answer:?}");
            trips.push(proxy.take());
            answer.header("location").to_owned()
        };
        ask("PUT", STOCK, &format!("{{\"on_hand\":{}}}", 2_000 + round)).await;
        ask("POST", &format!("{STOCK}/adjustments"), r#"{"delta":-1,"reason":"sale"}"#).await;
        let first = ask("POST", RESERVATIONS, &wanted(1, 60)).await;
        let second = ask("POST", RESERVATIONS, &wanted(1, 60)).await;
        ask("POST", &format!("{first}/fulfilment"), "").await;
        ask("DELETE", &second, "").await;
        ask("GET", STOCK, "").await;
        ask("GET", "/api/v1/stock/a", "").await;
        ask("GET", &second, "").await;
        ask("PUT", "/api/v1/locations/s", &format!("{{\"name\":\"{round}\"}}")).await;
        ask("DELETE", STOCK, "").await;
        assert_eq!(count(1_000).await, 201);
        // The first round also prepares each statement, once per connection.
        if round > 0 {
            assert_eq!(trips, [2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2], "round {round}");
        }
    }
    // That the counter counts: a key has to be locked, looked up and kept.
    proxy.take();
    let headers = [("idempotency-key", "k")];
    assert_eq!(send(&app, "PUT", STOCK, &headers, r#"{"on_hand":1}"#).await.status, 200);
    assert!(proxy.take() >= 5);
    Ok(())
}

/// Covers: A5.
#[tokio::test]
async fn what_fails_together_with_the_append_leaves_nothing() -> anyhow::Result<()> {
    let database = migrated().await?;
    let (app, _) = app(&service_url(&database.url())).await?;
    assert_eq!(send(&app, "PUT", STOCK, &[], r#"{"on_hand":1}"#).await.status, 201);
    let client = database.connect().await?;
    // The decision passes, the statement that stores it does not.
    let fence = "alter table warehouse.stock add constraint fence check (on_hand < 7)";
    client.execute(fence, &[]).await?;
    for headers in [&[][..], &[("idempotency-key", "k")]] {
        let refused = send(&app, "PUT", STOCK, headers, r#"{"on_hand":7}"#).await;
        assert_eq!(refused.problem(), (500, "internal".to_owned()));
    }
    let kept = "select (select on_hand from warehouse.stock) as on_hand,
        (select count(*) from outbox.change) + (select count(*) from records.answer) as rows";
    let kept = client.query_one(kept, &[]).await?;
    assert_eq!((kept.get::<_, i64>("on_hand"), kept.get::<_, i64>("rows")), (1, 2));
    assert_eq!(send(&app, "PUT", STOCK, &[], r#"{"on_hand":6}"#).await.status, 200);
    Ok(())
}
