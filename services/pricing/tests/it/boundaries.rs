//! Prices that change by themselves, at the moments at which promotions start and end.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use testkit::eventually;

use crate::world::World;

const PROMOTION: &str = "/api/v1/promotions/summer";

/// The database's clock, by which everything is decided.
async fn now(world: &World) -> anyhow::Result<DateTime<Utc>> {
    let client = world.database.connect().await?;
    Ok(client.query_one("select clock_timestamp() as now", &[]).await?.try_get("now")?)
}

/// A promotion on these products, from and up to so many milliseconds from now.
async fn promote(world: &World, skus: &[&str], periods: &[(i64, i64)]) -> anyhow::Result<()> {
    let now = now(world).await?;
    let at = |ms| {
        let time = now + Duration::from_millis(u64::try_from(ms).unwrap());
        time.to_rfc3339_opts(SecondsFormat::Micros, true)
    };
    let periods = periods
        .iter()
        .map(|(starts_at, ends_at)| json!({"starts_at": at(*starts_at), "ends_at": at(*ends_at)}));
    let periods: Vec<Value> = periods.collect();
    let body = json!({"skus": skus, "percent_off": "20", "periods": periods}).to_string();
    let answer = world.put(PROMOTION, &body).await;
    assert!(answer.status.is_success(), "{answer:?}");
    Ok(())
}

/// Everything that was published of a price: effective amount, promotion, and by how many
/// milliseconds the change came after the moment that the one before it had named.
async fn published(world: &World, sku: &str) -> anyhow::Result<Vec<(String, Value, f64)>> {
    let client = world.database.connect().await?;
    let changes = "select payload, occurred_at from outbox.change
        where topic = 'pricing.prices' and key = $1 order by id";
    let mut named: Option<DateTime<Utc>> = None;
    let mut published = Vec::new();
    for row in client.query(changes, &[&sku]).await? {
        let payload: Value = serde_json::from_slice(row.try_get("payload")?)?;
        let at: DateTime<Utc> = row.try_get("occurred_at")?;
        let late = named.map_or(0.0, |named| (at - named).as_seconds_f64() * 1000.0);
        let effective = payload["effective"].as_str().unwrap_or_default().to_owned();
        published.push((effective, payload["promotion"].clone(), late));
        named = payload["until"].as_str().map(str::parse).transpose()?;
    }
    Ok(published)
}

async fn until_published(world: &World, sku: &str, count: usize) {
    eventually(&format!("{sku} was published {count} times"), || async move {
        Ok(published(world, sku).await?.len() == count)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_starts_and_ends_by_itself() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.price("a", "10.00").await;
    let _worker = world.work();
    // A machine that stalls spoils a try, since what it sleeps through is published as one change;
    // so one of a few must be whole and in time. A worker that is slow spoils all.
    let mut tries = Vec::new();
    for unit in [150, 300, 600, 1_000] {
        let before = published(&world, "a").await?.len();
        promote(&world, &["a"], &[(unit, unit * 2), (unit * 3, unit * 4)]).await?;
        eventually("the promotion is over", || async {
            let client = world.database.connect().await?;
            let over = "select from pricing.price where offers = '[]' and until is null";
            Ok(client.query_opt(over, &[]).await?.is_some())
        })
        .await;
        let all = published(&world, "a").await?;
        let latest = &all[before..];
        let late: Vec<f64> = latest.iter().skip(1).map(|(.., late)| *late).collect();
        assert!(late.iter().all(|late| *late >= 0.0), "too early: {late:?}");
        let seen = latest.iter().map(|(effective, promotion, _)| {
            (effective.as_str(), promotion.as_str().unwrap_or_default())
        });
        let seen: Vec<_> = seen.collect();
        assert_eq!(world.costs("a").await, ("10.00".to_owned(), String::new(), false));
        let (list, less) = (("10.00", ""), ("8.00", "summer"));
        if seen == [list, less, list, less, list] && late.iter().all(|late| *late <= 100.0) {
            return Ok(());
        }
        tries.push(late);
    }
    anyhow::bail!("not each change within 100 ms of its moment: {tries:?}")
}

#[tokio::test]
async fn a_start_and_an_end_that_nobody_saw_are_published_at_the_next_start() -> anyhow::Result<()>
{
    let world = World::create().await?;
    for sku in ["a", "b"] {
        world.price(sku, "10.00").await;
    }
    promote(&world, &["a"], &[(700, 3_600_000)]).await?;
    assert_eq!(world.costs("a").await.0, "10.00");
    let started = async |sku: &'static str| {
        let due = "select from pricing.price where sku = $1 and until <= now()";
        eventually("the moment has passed", || async {
            Ok(world.database.connect().await?.query_opt(due, &[&sku]).await?.is_some())
        })
        .await;
    };
    started("a").await;
    assert_eq!(published(&world, "a").await?.len(), 2, "nobody was there to publish it");
    let worker = world.work();
    until_published(&world, "a", 3).await;
    assert_eq!(world.costs("a").await, ("8.00".to_owned(), "summer".to_owned(), true));
    drop(worker);

    // Start and end both passed: one change, to what holds now.
    promote(&world, &["b"], &[(700, 750)]).await?;
    assert_eq!(published(&world, "b").await?.len(), 2);
    started("b").await;
    eventually("the end has passed too", || async {
        let client = world.database.connect().await?;
        let over = "select from pricing.price where sku = 'b'
            and (offers #>> '{0,periods,0,ends_at}')::timestamptz < now()";
        Ok(client.query_opt(over, &[]).await?.is_some())
    })
    .await;
    let _worker = world.work();
    until_published(&world, "b", 3).await;
    assert_eq!(world.costs("b").await, ("10.00".to_owned(), String::new(), false));
    Ok(())
}

#[tokio::test]
async fn more_prices_than_one_transaction_takes_change_at_one_moment() -> anyhow::Result<()> {
    let world = World::create().await?;
    let skus: Vec<_> = (0..1_000).map(|n| format!("sku-{n}")).collect();
    let skus: Vec<_> = skus.iter().map(String::as_str).collect();
    let client = world.database.connect().await?;
    let seed = "insert into pricing.price (sku, currency, amount, revision)
        select unnest($1::text[]), 'USD', 10.00, 1";
    client.execute(seed, &[&skus]).await?;
    promote(&world, &skus, &[(0, 3_600_000)]).await?;
    let back = "update pricing.price set until = now()";
    assert_eq!(client.execute(back, &[]).await?, 1_000);
    let old = "select outbox.append('pricing.prices', sku, 'upsert', '{}') from pricing.price";
    client.query(old, &[]).await?;
    let start = Instant::now();
    let _worker = world.work();
    eventually("all are published", || async {
        let all = "select count(*) as n from outbox.current
            where topic = 'pricing.prices' and convert_from(payload, 'UTF8') like '%summer%'";
        Ok(client.query_one(all, &[]).await?.try_get::<_, i64>("n")? == 1_000)
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_boundary_that_changes_nothing_publishes_nothing() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.price("a", "10.00").await;
    let always = r#"{"skus":["a"],"percent_off":"50","periods":
        [{"starts_at":"2020-01-01T00:00:00Z","ends_at":"9999-12-31T23:59:59Z"}]}"#;
    world.put("/api/v1/promotions/best", always).await;
    promote(&world, &["a"], &[(20, 40)]).await?;
    let until = world.get("/api/v1/prices/a").await.json()["until"].clone();
    assert_eq!(until, "9999-12-31T23:59:59Z");
    assert_eq!(published(&world, "a").await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_worker_goes_on_after_the_database_was_away() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.price("a", "10.00").await;
    let _worker = world.work();
    promote(&world, &["a"], &[(600, 3_600_000)]).await?;
    let admin = world.database.connect().await?;
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()";
    assert!(!admin.query(cut, &[]).await?.is_empty(), "the fault did not bite");
    eventually("the start is published all the same", || async {
        let all = published(&world, "a").await?;
        Ok(all.last().is_some_and(|(effective, ..)| effective == "8.00"))
    })
    .await;
    Ok(())
}
