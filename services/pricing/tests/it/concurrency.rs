//! Writers of prices and promotions, and the worker, at the same time.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::world::World;

const ALWAYS: &str = r#"[{"starts_at":"2020-01-01T00:00:00Z","ends_at":"9999-12-31T23:59:59Z"}]"#;

fn promotion(skus: &[String], percent_off: u32) -> String {
    let skus = json!(skus);
    format!(r#"{{"skus":{skus},"percent_off":"{percent_off}","periods":{ALWAYS}}}"#)
}

/// Every price agrees with the promotions that hold.
async fn assert_agreed(world: &World, skus: &[String], percent_off: u32) {
    for sku in skus {
        let price = world.get(&format!("/api/v1/prices/{sku}")).await.json();
        let list: f64 = price["amount"].as_str().unwrap().parse().unwrap();
        let effective: f64 = price["effective"].as_str().unwrap().parse().unwrap();
        let expected = list * f64::from(100 - percent_off) / 100.0;
        assert!((effective - expected).abs() < 0.001, "{price}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_price_that_is_written_while_a_promotion_is_has_its_effect() -> anyhow::Result<()> {
    let world = World::create().await?;
    for round in 0..60_u32 {
        // New products, and such as have a price.
        let skus: Vec<_> = (0..4).map(|n| format!("sku-{}", round / 2 * 2 + n)).collect();
        let percent_off = 10 + round;
        let body = promotion(&skus, percent_off);
        let path = "/api/v1/promotions/p";
        let prices = skus.iter().enumerate().map(|(n, sku)| {
            let amount = format!("{}.00", 100 * (round + 1) + u32::try_from(n).unwrap());
            let world = &world;
            async move { world.price(sku, &amount).await }
        });
        let (promoted, priced) = tokio::join!(world.put(path, &body), join_all(prices));
        assert!(promoted.status.is_success(), "{promoted:?}");
        assert!(priced.iter().all(|answer| answer.status.is_success()), "{priced:?}");
        assert_agreed(&world, &skus, percent_off).await;
    }
    Ok(())
}

/// The same where it certainly happens: the price waits for the promotion's lock, begun before it
/// was committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_price_that_waited_for_a_promotion_has_its_effect() -> anyhow::Result<()> {
    let world = World::create().await?;
    let skus = ["a".to_owned()];
    for is_priced in [false, true] {
        let mut client = world.database.connect().await?;
        // The promotion comes to a halt at its last step, with its prices locked.
        let halt = client.transaction().await?;
        let append = "select outbox.append('pricing.promotions', 'p', 'upsert', $1)";
        halt.query(append, &[&b"{}".as_slice()]).await?;
        let percent_off = if is_priced { 30 } else { 20 };
        let body = promotion(&skus, percent_off);
        let promote = world.put("/api/v1/promotions/p", &body);
        let others = async {
            until_waiting(&world, 1).await;
            let price = world.price("a", "10.00");
            let release = async {
                until_waiting(&world, 2).await;
                halt.rollback().await
            };
            let (priced, released) = tokio::join!(price, release);
            released?;
            anyhow::Ok(priced)
        };
        let (promoted, priced) = tokio::join!(promote, others);
        assert!(promoted.status.is_success(), "{promoted:?}");
        assert!(priced?.status.is_success());
        assert_agreed(&world, &skus, percent_off).await;
    }
    Ok(())
}

async fn until_waiting(world: &World, count: i64) {
    testkit::eventually(&format!("{count} wait for a lock"), || async move {
        let waiting = "select count(*) as n from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        let row = world.database.connect().await?.query_one(waiting, &[]).await?;
        Ok(row.try_get::<_, i64>("n")? == count)
    })
    .await;
}

/// Unsorted locks would end in deadlocks, which are answered 503.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn promotions_prices_and_the_worker_never_wait_in_a_circle() -> anyhow::Result<()> {
    let world = World::create().await?;
    let worker = world.work();
    let all: Vec<_> = (0..40).map(|n| format!("sku-{n}")).collect();
    let promote = |writer: usize| {
        let (world, all) = (&world, &all);
        async move {
            for round in 0..12 {
                // Other products each time, in another order, with starts and ends in between.
                let mut skus: Vec<_> = all.iter().skip((writer + round) % 20).step_by(2).collect();
                if writer.is_multiple_of(2) {
                    skus.reverse();
                }
                let starts_at = chrono::Utc::now() + Duration::from_millis(20);
                let ends_at = starts_at + Duration::from_millis(40);
                let periods = json!([{"starts_at": starts_at.format("%FT%T%.6fZ").to_string(),
                    "ends_at": ends_at.format("%FT%T%.6fZ").to_string()}]);
                let body = json!({"skus": skus, "percent_off": "20", "periods": periods});
                let path = format!("/api/v1/promotions/p{}", writer % 3);
                let method = if round % 5 == 4 { "DELETE" } else { "PUT" };
                let body = if method == "PUT" { body.to_string() } else { String::new() };
                let answer = world.send(method, &path, &[], &body).await;
                assert!([200, 201, 204, 404].contains(&answer.status.as_u16()), "{answer:?}");
            }
        }
    };
    let price = |writer: usize| {
        let (world, all) = (&world, &all);
        async move {
            for round in 0..60 {
                let sku = &all[(writer * 7 + round * 3) % all.len()];
                let answer = world.price(sku, &format!("{}.00", round + 1)).await;
                assert!(answer.status.is_success(), "{answer:?}");
            }
        }
    };
    tokio::join!(join_all((0..6).map(promote)), join_all((0..6).map(price)));

    testkit::eventually("all promotions have ended", || async {
        let client = world.database.connect().await?;
        let changing = "select count(until) as n from pricing.price";
        Ok(client.query_one(changing, &[]).await?.try_get::<_, i64>("n")? == 0)
    })
    .await;
    assert_agreed(&world, &all, 0).await;
    // What a connection has counted is certain to be told when it ends.
    drop(worker);
    let client = world.database.connect().await?;
    testkit::eventually("all connections have ended", || async {
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        Ok(client.query(cut, &[]).await?.is_empty())
    })
    .await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(client.query_one(deadlocks, &[]).await?.try_get::<_, i64>("deadlocks")?, 0);
    Ok(())
}
