//! A view composed of three owners: what it shows, and what it says of itself.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::json;
use testkit::{eventually, within};

use crate::mall::{Mall, is_stale, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_view_shows_every_part_with_its_version_and_is_found_again() -> anyhow::Result<()> {
    let mall = Mall::open().await?;
    mall.put("B", "59.00", 7).await?;
    mall.settled("B", 1).await;
    let first = mall.view("B").await;
    assert_eq!(status(&first), "syncline; fwd=miss; stored");
    let body = first.json();
    assert_eq!(body["sku"], "B");
    assert_eq!(body["product"], json!({"sku": "B", "name": "B"}));
    assert_eq!(body["price"]["amount"], "59.00");
    assert_eq!(body["stock"]["available"], 7);
    assert_eq!(body["stock"]["locations"][0]["location"], "s1");
    let parts = &body["freshness"]["parts"];
    for part in ["product", "price", "stock/s1"] {
        assert_eq!(parts[part], json!({"version": "1", "reason": null}), "{part}");
    }
    assert_eq!(
        (&body["freshness"]["stale"], &body["freshness"]["reason"]),
        (&json!(false), &json!(null))
    );
    assert!(body.get("waits_for").is_none());
    assert_eq!(first.headers["cache-control"], "no-cache");
    assert_eq!(first.headers["age"], "0");

    let again = mall.fresh_hit("B").await;
    assert_eq!(again.headers["etag"], first.headers["etag"]);
    assert_eq!(again.json()["price"], body["price"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_any_part_shows_within_a_second() -> anyhow::Result<()> {
    let mall = Mall::open().await?;
    let second = Duration::from_secs(1);
    let start = Instant::now();
    mall.price("A", "6.00").await?;
    within(second, "the new price shows", async || {
        Ok(mall.view("A").await.json()["price"]["amount"] == "6.00")
    })
    .await;
    println!("written to seen: {:?}", start.elapsed());
    mall.catalog.put("A", &json!({"sku": "A", "name": "new"})).await?;
    within(second, "the new name shows", async || {
        Ok(mall.view("A").await.json()["product"]["name"] == "new")
    })
    .await;
    let more = json!({"sku": "A", "location": "s2", "on_hand": 9, "reserved": 0, "available": 9});
    mall.warehouse.put("A/s2", &more).await?;
    within(second, "the stock of another store shows", async || {
        Ok(mall.view("A").await.json()["stock"]["available"] == 12)
    })
    .await;
    let hit = mall.fresh_hit("A").await.json();
    assert_eq!(hit["freshness"]["parts"]["price"]["version"], "2");
    assert_eq!(hit["freshness"]["parts"]["stock/s2"]["version"], "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_old_value_is_ever_called_fresh_after_a_second() -> anyhow::Result<()> {
    let mall = Mall::open().await?;
    for round in 0..30 {
        let amount = format!("{round}.00");
        mall.price("A", &amount).await?;
        let written = Instant::now();
        loop {
            let asked = written.elapsed();
            let view = mall.view("A").await;
            if view.json()["price"]["amount"] == *amount {
                break;
            }
            let is_allowed = asked <= Duration::from_secs(1) || is_stale(&view);
            assert!(is_allowed, "{asked:?} after {amount}: {}", view.json());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_the_view_is_told_so_and_freshness_is_no_part_of_the_tag()
-> anyhow::Result<()> {
    let mall = Mall::open().await?;
    let first = mall.fresh_hit("A").await;
    let tag = first.headers["etag"].clone();
    let ask = async |tag: &str| {
        let request = Request::get("/api/v1/views/products/A").header("if-none-match", tag);
        mall.ask(request.body(Body::empty()).unwrap()).await
    };
    let shown = tag.to_str()?;
    let strong = shown.trim_start_matches("W/").to_owned();
    for held in [shown.to_owned(), strong, format!("\"x\", {shown}"), "*".to_owned()] {
        let answer = ask(&held).await;
        assert_eq!(answer.status, StatusCode::NOT_MODIFIED, "{held}");
        assert!(answer.body.is_empty());
        assert_eq!(answer.headers["etag"], tag);
        assert!(answer.headers.contains_key("cache-status"));
    }
    assert_eq!(ask("W/\"0123456789abcdef\"").await.status, StatusCode::OK);
    mall.price("A", "6.00").await?;
    eventually("the tag is another one", async || {
        Ok(mall.fresh_hit("A").await.headers["etag"] != tag)
    })
    .await;
    assert_eq!(ask(shown).await.status, StatusCode::OK);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_not_found_and_what_waits_for_its_product_says_so()
-> anyhow::Result<()> {
    let mall = Mall::open().await?;
    assert_eq!(mall.view("nobody").await.problem().0, 404);
    assert_eq!(mall.view("%2e%2e").await.problem().0, 422);
    mall.price("early", "6.00").await?;
    let view = mall.view("early").await;
    assert_eq!(view.headers["syncline-waits-for"], "catalog.products/early");
    let body = view.json();
    assert_eq!((&body["product"], &body["stock"]), (&json!(null), &json!(null)));
    assert_eq!(body["waits_for"], "catalog.products/early");
    assert_eq!(body["freshness"]["parts"]["product"]["version"], json!(null));
    mall.catalog.put("early", &json!({"sku": "early", "name": "late"})).await?;
    within(Duration::from_secs(1), "the product shows", async || {
        Ok(mall.view("early").await.json()["product"]["name"] == "late")
    })
    .await;
    assert!(!mall.view("early").await.headers.contains_key("syncline-waits-for"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_misses_are_read_once() -> anyhow::Result<()> {
    let mall = Mall::open().await?;
    mall.put("B", "5.00", 1).await?;
    mall.settled("B", 1).await;
    let before = mall.pricing.owner.asked();
    let views = join_all((0..50).map(|_| mall.view("B"))).await;
    assert!(views.iter().all(|view| view.status == StatusCode::OK && !is_stale(view)));
    assert_eq!(mall.pricing.owner.asked() - before, 1);
    let stored = views.iter().filter(|view| status(view) == "syncline; fwd=miss; stored").count();
    assert_eq!(stored, 1);
    let collapsed = "syncline; fwd=miss; stored; collapsed";
    assert!(views.iter().any(|view| status(view) == collapsed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_ends_when_its_price_changes_by_itself() -> anyhow::Result<()> {
    let mall = Mall::open().await?;
    let until = chrono::Utc::now() + Duration::from_millis(1_500);
    let price = json!({"sku": "A", "currency": "USD", "amount": "5.00", "effective": "4.00",
        "promotion": "summer", "until": until});
    mall.pricing.put("A", &price).await?;
    eventually("the promotion shows", async || {
        Ok(mall.view("A").await.json()["price"]["promotion"] == "summer")
    })
    .await;
    eventually("what was kept is no longer given", async || {
        let view = mall.view("A").await;
        let is_hit = status(&view).contains("hit");
        anyhow::ensure!(
            !is_hit || chrono::Utc::now() <= until + Duration::from_millis(100),
            "{view:?}"
        );
        Ok(!is_hit && chrono::Utc::now() > until)
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_with_an_open_case_is_behind_until_the_case_is_closed() -> anyhow::Result<()> {
    let mall = Mall::open().await?;
    let client = mall.database.connect().await?;
    let mark = "insert into inbox.dirty (sink, key, stream, low, high)
        values ('cache', 'pricing.prices:A', '', 0, 0)";
    client
        .batch_execute(&format!(
            "insert into inbox.cases (topic, key, history, version, rebuild, kind, rule,
                 rule_version, reason)
             values ('pricing.prices', 'A', 1, 2, 1, 'invalid', 'validate', '1', 'too dear');
             {mark}"
        ))
        .await?;
    eventually("the view says that it is behind", async || {
        let body = mall.view("A").await.json();
        let reason = body["freshness"]["parts"]["price"]["reason"].as_str().unwrap_or_default();
        Ok(body["freshness"]["stale"] == true && reason.contains("set aside"))
    })
    .await;
    // Kept like any other, and flagged each time.
    eventually("it comes from the cache, flagged", async || {
        let view = mall.view("A").await;
        Ok(status(&view) == "syncline; hit" && is_stale(&view))
    })
    .await;
    client.batch_execute(&format!("update inbox.cases set state = 'discarded'; {mark}")).await?;
    mall.fresh_hit("A").await;
    Ok(())
}
