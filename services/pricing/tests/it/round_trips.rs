//! How often a request waits for the database, counted on the wire.

use testkit::Proxy;

use crate::world::{app, migrated, send, service_url};

const ALWAYS: &str = r#"[{"starts_at":"2020-01-01T00:00:00Z","ends_at":"9999-12-31T23:59:59Z"}]"#;

#[tokio::test]
async fn a_price_costs_two_round_trips_or_three_where_promotions_name_its_product()
-> anyhow::Result<()> {
    let database = migrated().await?;
    let proxy = Proxy::start(&database.url()).await?;
    let (_, app) = app(&service_url(proxy.url())).await?;
    let price = |n: u32| format!(r#"{{"currency":"USD","amount":"{n}"}}"#);
    let promotion =
        |off: u32| format!(r#"{{"skus":["b"],"percent_off":"{off}","periods":{ALWAYS}}}"#);
    let (plain, offered, summer) =
        ("/api/v1/prices/a", "/api/v1/prices/b", "/api/v1/promotions/summer");
    // A machine that stalls between two packets counts one too many, never one too few. The first
    // round also prepares each statement, once per connection.
    let mut fewest = [u32::MAX; 6];
    for round in 0..4 {
        for (fewest, (method, path, body)) in fewest.iter_mut().zip([
            ("PUT", summer, promotion(round + 1)),
            ("PUT", plain, price(round)),
            ("PUT", plain, price(round + 100)),
            ("PUT", offered, price(round)),
            ("GET", plain, String::new()),
            ("DELETE", plain, String::new()),
        ]) {
            proxy.take();
            let answer = send(&app, method, path, &[], &body).await;
            assert!(answer.status.is_success(), "{answer:?}");
            *fewest = proxy.take().min(*fewest);
        }
    }
    assert_eq!(fewest, [6, 2, 2, 3, 1, 2]);
    Ok(())
}
