//! How often a request waits for the database, counted on the wire.

use testkit::Proxy;

use crate::world::{app, migrated, send, service_url};

#[tokio::test]
async fn a_write_costs_one_round_trip_and_two_where_it_depends_on_what_is_there()
-> anyhow::Result<()> {
    let database = migrated().await?;
    let proxy = Proxy::start(&database.url()).await?;
    let app = app(&service_url(proxy.url())).await?;

    let product = "/api/v1/products/a";
    let category = "/api/v1/categories/a";
    let bodies = |n: u32| {
        (
            format!(r#"{{"name":"{n}","categories":["a"],"attributes":{{"n":{n}}}}}"#),
            format!(r#"{{"name":"{n}","parent":"b"}}"#),
        )
    };
    for round in 0..3 {
        let (for_product, for_category) = bodies(round);
        let mut trips = Vec::new();
        for (method, path, body) in [
            ("PUT", product, for_product.as_str()),
            ("PUT", product, &bodies(round + 100).0),
            ("PUT", category, &for_category),
            ("GET", product, ""),
            ("DELETE", category, ""),
            ("DELETE", product, ""),
        ] {
            proxy.take();
            let answer = send(&app, method, path, &[], body).await;
            assert!(answer.status.is_success(), "{answer:?}");
            trips.push(proxy.take());
        }
        let tagged = send(&app, "PUT", product, &[], &for_product).await;
        proxy.take();
        let headers = [("if-match", tagged.etag())];
        let answer = send(&app, "PUT", product, &headers, &bodies(round + 200).0).await;
        assert_eq!(answer.status, 200);
        trips.push(proxy.take());
        // The first round also prepares each statement, once per connection.
        if round > 0 {
            assert_eq!(trips, [1, 1, 1, 1, 1, 1, 2], "round {round}");
        }
    }
    // That the counter counts: a key has to be locked, looked up and kept.
    proxy.take();
    let headers = [("idempotency-key", "k")];
    assert_eq!(send(&app, "PUT", product, &headers, &bodies(999).0).await.status, 200);
    assert!(proxy.take() >= 5);
    Ok(())
}
