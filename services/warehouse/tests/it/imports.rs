//! Many records in one request: each line is stored or refused for itself.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::world::{Answer, STOCK, World};

const STOCK_IMPORT: &str = "/api/v1/stock/import";
const LOCATIONS_IMPORT: &str = "/api/v1/locations/import";
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const CSV: (&str, &str) = ("content-type", "text/csv");

async fn import(world: &World, path: &str, headers: &[(&str, &str)], file: &str) -> Answer {
    world.send("POST", path, headers, file).await
}

/// Lines, stored, unchanged, refused, waiting.
fn totals(answer: &Answer) -> [i64; 5] {
    let answer = answer.json();
    let of = |name: &str| answer[name].as_i64().unwrap_or(-1);
    [of("lines"), of("stored"), of("unchanged"), of("refused"), of("waiting")]
}

/// Line, field and code of each refusal.
fn refusals(answer: &Answer) -> Vec<(i64, String, String)> {
    let answer = answer.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let refusals = answer["refusals"].as_array().expect("a list").iter().map(|refusal| {
        assert!(!text(&refusal["reason"]).is_empty(), "no reason: {refusal}");
        (refusal["line"].as_i64().unwrap_or(0), text(&refusal["field"]), text(&refusal["code"]))
    });
    refusals.collect()
}

#[tokio::test]
async fn of_a_file_with_bad_lines_the_rest_is_stored() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(5).await;
    world.reserve(3, 60).await;
    let client = world.database.connect().await?;
    client.execute("insert into warehouse.product (sku) values ('known')", &[]).await?;
    let file = r#"{"sku":"a","location":"s","on_hand":2}
{"sku":"known","location":"new","on_hand":7}
{"sku":"b","location":"s","on_hand":-1}
{"sku":"b","location":"s","on_hand":1.5}
{"sku":"b","location":"s","on_hand":2147483649}
{"sku":"b","on_hand":1}
{"sku":"b c","location":"s","on_hand":1}
{"sku":"b","location":"s","on_hand":1,"reserved":0}
{"sku":"b","location":
{"sku":"b","location":"s","on_hand":0}
"#;
    let answer = import(&world, STOCK_IMPORT, &[NDJSON], file).await;
    assert_eq!(answer.status, 200);
    assert_eq!(totals(&answer), [10, 2, 0, 8, 1]);
    let expected = [
        (1, "/on_hand", "below-reserved"),
        (3, "/on_hand", "out-of-range"),
        (4, "/on_hand", "wrong-type"),
        (5, "/on_hand", "out-of-range"),
        (6, "/location", "missing-field"),
        (7, "/sku", "illegal-character"),
        (8, "/reserved", "unknown-field"),
        (9, "", "broken-json"),
    ];
    let expected = expected.map(|(line, field, code)| (line, field.to_owned(), code.to_owned()));
    assert_eq!(refusals(&answer), expected);
    assert_eq!(world.level().await, (5, 3, 2));
    assert_eq!(world.get("/api/v1/stock/b/s").await.json()["on_hand"], 0);
    assert_eq!(world.get("/api/v1/stock/known/new").await.json()["available"], 7);
    assert_eq!(world.get("/api/v1/locations/new").await.status, 200);
    world.assert_sound().await
}

#[tokio::test]
async fn stock_and_locations_come_as_csv_too() -> anyhow::Result<()> {
    let world = World::create().await?;
    let file = "\u{feff}id,city,name\r\ns,\"St. Paul, MN\",\"The \"\"Mall\"\"\"\r\nt,,\r\n";
    let answer = import(&world, LOCATIONS_IMPORT, &[CSV], file).await;
    assert_eq!(totals(&answer), [2, 2, 0, 0, 0]);
    let location = world.get("/api/v1/locations/s").await.json();
    let whole = json!({"id": "s", "name": "The \"Mall\"", "city": "St. Paul, MN", "region": null,
        "postcode": null});
    assert_eq!(location, whole);
    assert_eq!(world.get("/api/v1/locations/t").await.json()["city"], json!(null));

    let file = "on_hand,location,sku\n12,s,a\nmany,s,b\n,s,c\n3,s\n4,t,d\n";
    let answer = import(&world, STOCK_IMPORT, &[CSV], file).await;
    assert_eq!(totals(&answer), [5, 2, 0, 3, 2]);
    let lines: Vec<_> =
        refusals(&answer).into_iter().map(|(line, field, _)| (line, field)).collect();
    assert_eq!(lines[..2], [(3, "/on_hand".to_owned()), (4, "/on_hand".to_owned())]);
    assert_eq!(lines[2].0, 5);
    assert_eq!(world.level().await, (12, 0, 12));

    let answer = import(&world, STOCK_IMPORT, &[CSV], "sku,on_hand\na,1\n").await;
    assert_eq!(answer.problem().0, 422, "a column is missing");
    assert_eq!(world.level().await, (12, 0, 12));
    world.assert_sound().await
}

#[tokio::test]
async fn an_equal_import_changes_nothing_and_a_repeat_is_answered_alike() -> anyhow::Result<()> {
    let world = World::create().await?;
    let file: String = (0..1_200)
        .map(|n| format!("{{\"sku\":\"{n}\",\"location\":\"s{}\",\"on_hand\":{n}}}\n", n % 7))
        .collect();
    let key = ("idempotency-key", "file-1");
    let first = import(&world, STOCK_IMPORT, &[NDJSON, key], &file).await;
    assert_eq!(totals(&first), [1_200, 1_200, 0, 0, 1_200]);
    let stored = world.stored().await?;
    assert_eq!(stored[..5], [7, 1_200, 0, 1_207, 1_207]);
    let repeat = import(&world, STOCK_IMPORT, &[NDJSON, key], &file).await;
    assert_eq!(repeat.body, first.body);
    let equal = import(&world, STOCK_IMPORT, &[NDJSON], &file).await;
    assert_eq!(totals(&equal), [1_200, 0, 1_200, 0, 1_200]);
    let other = import(&world, STOCK_IMPORT, &[NDJSON, key], &file[1..]).await;
    assert_eq!(other.problem(), (422, "idempotency-key-reused".to_owned()));
    assert_eq!(world.stored().await?[..5], stored[..5]);

    let lines = "{\"id\":\"s0\"}\n{\"id\":\"s1\",\"name\":\"One\"}\n";
    let described = import(&world, LOCATIONS_IMPORT, &[NDJSON], lines).await;
    assert_eq!(totals(&described), [2, 1, 1, 0, 0]);
    world.assert_sound().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn imports_in_any_order_and_trade_wait_for_each_other_in_no_circle() -> anyhow::Result<()> {
    let world = World::create().await?;
    let line = |n: i64, on_hand: i64| {
        format!("{{\"sku\":\"{}\",\"location\":\"s{}\",\"on_hand\":{on_hand}}}\n", n / 4, n % 4)
    };
    let upwards = |on_hand: i64| (0..200).map(|n| line(n, on_hand)).collect::<String>();
    let downwards = |on_hand: i64| (0..200).rev().map(|n| line(n, on_hand)).collect::<String>();
    import(&world, STOCK_IMPORT, &[NDJSON], &upwards(1_000)).await;
    let files: Vec<_> = (0..2).flat_map(|n| [upwards(2_000 + n), downwards(3_000 + n)]).collect();
    let imports = files.iter().map(|file| import(&world, STOCK_IMPORT, &[NDJSON], file));
    let sales = (0..300).map(|n| {
        let (path, world) = (format!("/api/v1/stock/{}/s{}/adjustments", n % 50, n % 4), &world);
        async move { world.post(&path, r#"{"delta":-1}"#).await.status }
    });
    let (imported, sold) = tokio::join!(join_all(imports), join_all(sales));
    for answer in imported {
        assert_eq!(totals(&answer)[3], 0, "{answer:?}");
    }
    assert!(sold.iter().all(|status| *status == 200), "{sold:?}");
    world.assert_sound().await?;
    // An import that lost is tried again unseen, so the server is asked; a session reports what it
    // met at its end at the latest.
    world.pool.close();
    let client = world.database.connect().await?;
    testkit::eventually("all sessions have ended", || async {
        let others = "select count(*) as n from pg_stat_activity
            where datname = current_database() and application_name = 'warehouse'";
        Ok(client.query_one(others, &[]).await?.get::<_, i64>("n") == 0)
    })
    .await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(client.query_one(deadlocks, &[]).await?.get::<_, i64>("deadlocks"), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn imports_that_create_the_same_locations_at_once_publish_them_all() -> anyhow::Result<()> {
    let world = World::create().await?;
    let line = |sku: &str, n: usize| {
        format!("{{\"sku\":\"{sku}{n}\",\"location\":\"{}\",\"on_hand\":1}}\n", n % 60)
    };
    let files: Vec<String> = ["a", "b", "c", "d"]
        .iter()
        .enumerate()
        .map(|(import, sku)| (0..300).map(|n| line(sku, n * (import + 1))).collect())
        .collect();
    let imports = files.iter().map(|file| import(&world, STOCK_IMPORT, &[NDJSON], file));
    for answer in join_all(imports).await {
        assert_eq!(totals(&answer)[3], 0, "{answer:?}");
    }
    world.assert_sound().await
}

#[tokio::test]
async fn a_location_created_by_an_attempt_that_is_repeated_is_published() -> anyhow::Result<()> {
    let world = World::create().await?;
    let other = world.database.connect().await?;
    other.batch_execute("begin; insert into warehouse.location (id) values ('B')").await?;
    let file = ["A", "B"]
        .map(|location| format!("{{\"sku\":\"a\",\"location\":\"{location}\",\"on_hand\":1}}\n"));
    let file = file.concat();
    let watcher = world.database.connect().await?;
    let commit = async {
        testkit::eventually("the import waits for the other", || async {
            let waiting = "select count(*) as n from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock'";
            Ok(watcher.query_one(waiting, &[]).await?.get::<_, i64>("n") == 1)
        })
        .await;
        other.batch_execute("commit").await
    };
    let (answer, committed) = tokio::join!(import(&world, STOCK_IMPORT, &[NDJSON], &file), commit);
    committed?;
    assert_eq!(totals(&answer), [2, 2, 0, 0, 2]);
    assert_eq!(world.get("/api/v1/locations/A").await.status, 200);
    world.assert_sound().await
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused() -> anyhow::Result<()> {
    let world = World::create().await?;
    let json = [("content-type", "application/json")];
    assert_eq!(import(&world, STOCK_IMPORT, &json, "{}").await.problem().0, 415);
    assert_eq!(world.stored().await?, [0; 6]);
    assert_eq!(world.get(STOCK).await.status, 404);
    Ok(())
}
