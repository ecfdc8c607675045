//! Files of prices and of promotions.

use serde_json::{Value, json};

use crate::world::{Answer, World};

const PRICES: &str = "/api/v1/prices/import";
const PROMOTIONS: &str = "/api/v1/promotions/import";
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const CSV: (&str, &str) = ("content-type", "text/csv; charset=utf-8");

/// Lines, stored, unchanged, refused and waiting.
fn counts(answer: &Answer) -> [i64; 5] {
    assert_eq!(answer.status, 200, "{answer:?}");
    let totals = answer.json();
    ["lines", "stored", "unchanged", "refused", "waiting"]
        .map(|name| totals[name].as_i64().unwrap())
}

fn refusals(answer: &Answer) -> Vec<(i64, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let totals = answer.json();
    let refusals = totals["refusals"].as_array().unwrap().iter().map(|refusal| {
        assert!(!text(&refusal["reason"]).is_empty());
        (refusal["line"].as_i64().unwrap(), text(&refusal["field"]), text(&refusal["code"]))
    });
    refusals.collect()
}

fn refusal(line: i64, field: &str, code: &str) -> (i64, String, String) {
    (line, field.to_owned(), code.to_owned())
}

#[tokio::test]
async fn prices_are_imported_and_what_is_wrong_is_told_by_line() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.hear("a", Some(pricing::Product {})).await?;
    world.price("c", "3.00").await;
    let promotion = r#"{"skus":["b"],"percent_off":"20","periods":
        [{"starts_at":"2020-01-01T00:00:00Z","ends_at":"9999-12-31T23:59:59Z"}]}"#;
    world.put("/api/v1/promotions/always", promotion).await;
    let file = r#"{"sku":"b","currency":"USD","amount":"10"}
{"sku":"a","currency":"JPY","amount":"100"}
{"sku":"c","currency":"USD","amount":"3"}
{"sku":"d","currency":"USD","amount":"-1"}
{"sku":"e","currency":"USD","amount":"1.999"}
{"sku":"f","currency":"XXX","amount":"1"}
{"currency":"USD","amount":"1"}
{"sku":"g","currency":"USD","amount":"1","colour":"red"}
"#;
    let answer = world.send("POST", PRICES, &[NDJSON], file).await;
    assert_eq!(counts(&answer), [8, 2, 1, 5, 2]);
    assert_eq!(
        refusals(&answer),
        [
            refusal(4, "/amount", "negative"),
            refusal(5, "/amount", "precision"),
            refusal(6, "/currency", "unknown-currency"),
            refusal(7, "/sku", "missing-field"),
            refusal(8, "/colour", "unknown-field"),
        ]
    );
    assert_eq!(world.costs("a").await, ("100".to_owned(), String::new(), false));
    assert_eq!(world.costs("b").await, ("8.00".to_owned(), "always".to_owned(), true));
    let stored = world.stored().await?;
    assert_eq!(stored, [3, 1, 4, 4]);

    // The same by CSV, with its columns in another order: nothing is left to be done.
    let file = "\u{feff}amount,sku,currency\r\n10.00,b,USD\r\n100,a,JPY\r\n3.00,c,USD\r\n";
    assert_eq!(counts(&world.send("POST", PRICES, &[CSV], file).await), [3, 0, 3, 0, 2]);
    assert_eq!(world.stored().await?, stored);
    let file = "sku,amount\r\na,100\r\n";
    let answer = world.send("POST", PRICES, &[CSV], file).await;
    assert_eq!(answer.fields(), [("/currency".to_owned(), "missing-column".to_owned())]);
    Ok(())
}

#[tokio::test]
async fn promotions_are_imported_with_their_prices() -> anyhow::Result<()> {
    let world = World::create().await?;
    for sku in ["a", "b", "c"] {
        world.price(sku, "10.00").await;
    }
    let always =
        "2020-01-01T00:00:00Z/2021-01-01T00:00:00Z|2021-01-01T00:00:00Z/9999-01-01T00:00:00Z";
    let file = format!(
        "id,skus,percent_off,periods\n\
         summer,b|a,20,{always}\n\
         best,b,50,{always}\n\
         backwards,a,20,2021-01-01T00:00:00Z/2020-01-01T00:00:00Z\n\
         nobody,,20,{always}\n\
         when,a,20,tomorrow\n\
         twice,a,20,{always}|2020-06-01T00:00:00Z/2020-07-01T00:00:00Z\n"
    );
    let answer = world.send("POST", PROMOTIONS, &[CSV], &file).await;
    assert_eq!(counts(&answer), [6, 2, 0, 4, 0]);
    assert_eq!(
        refusals(&answer),
        [
            refusal(4, "/periods/0/ends_at", "ends-before-start"),
            refusal(5, "/skus", "count"),
            refusal(6, "/periods", "malformed"),
            refusal(7, "/periods/2", "overlap"),
        ]
    );
    assert_eq!(world.costs("a").await, ("8.00".to_owned(), "summer".to_owned(), true));
    assert_eq!(world.costs("b").await, ("5.00".to_owned(), "best".to_owned(), true));
    let periods = world.get("/api/v1/promotions/summer").await.json()["periods"].clone();
    assert_eq!(periods[1]["starts_at"], "2021-01-01T00:00:00Z");

    let stored = world.stored().await?;
    let lines: Vec<_> = file.lines().take(3).collect();
    let answer = world.send("POST", PROMOTIONS, &[CSV], &lines.join("\n")).await;
    assert_eq!(counts(&answer), [2, 0, 2, 0, 0]);
    assert_eq!(world.stored().await?, stored);

    // What is no longer named, or named by another, follows within the file.
    let line = |id: &str, skus: Value| {
        json!({"id": id, "skus": skus, "percent_off": "50", "periods": [
            {"starts_at": "2020-01-01T00:00:00Z", "ends_at": "9999-01-01T00:00:00Z"}]})
    };
    let file = [line("best", json!(["c"])), line("summer", json!(["b", "a"]))];
    let file = file.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let answer = world.send("POST", PROMOTIONS, &[NDJSON], &file).await;
    assert_eq!(counts(&answer), [2, 2, 0, 0, 0]);
    for (sku, promotion) in [("a", "summer"), ("b", "summer"), ("c", "best")] {
        assert_eq!(world.costs(sku).await, ("5.00".to_owned(), promotion.to_owned(), true));
    }
    Ok(())
}

fn promotion(id: &str, skus: &[String]) -> String {
    let periods = json!([{"starts_at": "2020-01-01T00:00:00Z", "ends_at": "9999-01-01T00:00:00Z"}]);
    let line = json!({"id": id, "skus": skus, "percent_off": "50", "periods": periods});
    format!("{line}\n")
}

/// How many changes the largest transaction has appended.
async fn largest(world: &World) -> anyhow::Result<i64> {
    let client = world.database.connect().await?;
    let largest = "select max(n) as n from (
        select count(*) as n from outbox.change group by xmin) as counted";
    Ok(client.query_one(largest, &[]).await?.try_get("n")?)
}

#[tokio::test]
async fn promotions_of_many_products_are_stored_a_thousand_prices_at_a_time() -> anyhow::Result<()>
{
    let world = World::create().await?;
    let skus: Vec<_> = (0..400).map(|n| format!("sku-{n}")).collect();
    let prices = skus.iter().map(|sku| json!({"sku": sku, "currency": "USD", "amount": "10"}));
    let prices: String = prices.map(|line| format!("{line}\n")).collect();
    assert_eq!(counts(&world.send("POST", PRICES, &[NDJSON], &prices).await)[1], 400);
    // The first time by what they name, then by what they named.
    let file: String = (0..6).map(|n| promotion(&format!("p{n}"), &skus)).collect();
    let answer = world.send("POST", PROMOTIONS, &[NDJSON], &file).await;
    assert_eq!(counts(&answer), [6, 6, 0, 0, 0]);
    let parts = skus.chunks(60).enumerate().take(6);
    let file: String = parts.map(|(n, part)| promotion(&format!("p{n}"), part)).collect();
    let answer = world.send("POST", PROMOTIONS, &[NDJSON], &file).await;
    assert_eq!(counts(&answer), [6, 6, 0, 0, 0]);
    assert_eq!(world.costs("sku-359").await, ("5.00".to_owned(), "p5".to_owned(), true));
    assert_eq!(world.costs("sku-360").await, ("10.00".to_owned(), String::new(), false));
    let client = world.database.connect().await?;
    let turns = "select count(distinct xmin::text) as n from pricing.promotion";
    assert_eq!(client.query_one(turns, &[]).await?.get::<_, i64>("n"), 3, "two lines at a time");
    assert!(largest(&world).await? <= 1_000);
    Ok(())
}

#[tokio::test]
async fn a_product_has_a_hundred_promotions_at_most() -> anyhow::Result<()> {
    let world = World::create().await?;
    let skus = ["a".to_owned()];
    let file: String = (0..101).map(|n| promotion(&format!("p{n:03}"), &skus)).collect();
    let answer = world.send("POST", PROMOTIONS, &[NDJSON], &file).await;
    assert_eq!(counts(&answer), [101, 100, 0, 1, 0]);
    assert_eq!(refusals(&answer), [refusal(101, "/skus", "too-many-promotions")]);
    let body = promotion("p100", &skus).replace("50", "20");
    let refused = world.put("/api/v1/promotions/p100", &body).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.fields(), [("/skus".to_owned(), "too-many-promotions".to_owned())]);
    let replaced = promotion("p000", &skus).replace("50", "20");
    assert_eq!(world.put("/api/v1/promotions/p000", &replaced).await.status, 200);
    assert_eq!(world.send("DELETE", "/api/v1/promotions/p000", &[], "").await.status, 204);
    assert_eq!(world.put("/api/v1/promotions/p100", &body).await.status, 201);
    Ok(())
}

#[tokio::test]
async fn an_import_goes_on_under_its_key_and_counts_nothing_twice() -> anyhow::Result<()> {
    let world = World::create().await?;
    let headers = [NDJSON, ("idempotency-key", "file-1")];
    let line =
        |n: i32| format!("{{\"sku\":\"sku-{n}\",\"currency\":\"USD\",\"amount\":\"{n}\"}}\n");
    let file: String = (0..1_200).map(line).collect();
    let first = world.send("POST", PRICES, &headers, &file).await;
    assert_eq!(counts(&first), [1_200, 1_200, 0, 0, 1_200]);
    let repeat = world.send("POST", PRICES, &headers, &file).await;
    assert_eq!(repeat.json(), first.json());
    assert_eq!(world.stored().await?, [1_200, 0, 1_200, 1_200]);
    let other = world.send("POST", PRICES, &headers, &line(1)).await;
    assert_eq!(other.problem(), (422, "idempotency-key-reused".to_owned()));
    Ok(())
}
