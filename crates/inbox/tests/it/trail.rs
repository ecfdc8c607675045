//! What became of one change here, and which sinks have noticed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bus::Bus;
use chrono::{DateTime, Utc};
use inbox::{Error, Sink};
use serde_json::{Value, json};
use testkit::eventually;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::origin::item;
use crate::world::{Run, World};

/// Brings keys up to date when it may, and names one more for each that begins with "many".
struct Index {
    leave: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
}

impl Sink for Index {
    const NAME: &'static str = "index";

    async fn clean(&self, keys: &[String]) -> Result<Vec<String>, Error> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.leave.acquire().await.unwrap().forget();
        let rest = keys.iter().filter_map(|key| key.strip_prefix("many"));
        Ok(rest.map(str::to_owned).collect())
    }
}

/// Starts the worker: permits for its batches, and how many it has begun.
fn index(world: &mut World, run: &Run) -> (Arc<Semaphore>, Arc<AtomicUsize>) {
    let (leave, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let sink = Index { leave: Arc::clone(&leave), begun: Arc::clone(&begun) };
    let worker = inbox::run_sink(run.config.clone(), world.pool.clone(), sink);
    world.spawn(async move { worker.await.unwrap() });
    (leave, begun)
}

fn routes(world: &World, run: &Run) -> Router {
    run.config.monitor.routes(world.pool.clone(), &Bus::memory(&world.hub))
}

async fn get(routes: Router, uri: &str) -> anyhow::Result<(u16, Value)> {
    let response = routes.oneshot(Request::get(uri).body(Body::empty())?).await?;
    let status = response.status().as_u16();
    Ok((status, serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await?)?))
}

/// What became of a key, whose latest change has this number at the source.
async fn ask(world: &World, run: &Run, key: &str, pn: u32) -> anyhow::Result<Value> {
    let uri = format!("/sync/where/shop.items?key={key}&stream=shop.items.normal&pn={pn}");
    let (status, answer) = get(routes(world, run), &uri).await?;
    anyhow::ensure!(status == 200, "{status}: {answer}");
    Ok(answer)
}

fn time(value: &Value) -> anyhow::Result<DateTime<Utc>> {
    Ok(value.as_str().unwrap_or_default().parse()?)
}

/// Covers: P9, M34.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_followed_from_its_delivery_to_the_sink_that_noticed_it() -> anyhow::Result<()>
{
    let (mut world, run) = World::serving("trail").await?;
    world.origin.silence();
    let (leave, _) = index(&mut world, &run);
    world.origin.put("A", Some(&item("a", 1)));
    let before = ask(&world, &run, "A", 1).await?;
    assert_eq!((&before["held"], &before["position"]), (&Value::Null, &json!("0")), "{before}");
    assert_eq!((&before["via"], &before["outcome"]), (&Value::Null, &Value::Null), "{before}");
    assert_eq!(before["phase"], "serving");

    world.push(1, 1).await;
    eventually("it is applied", async || {
        Ok(ask(&world, &run, "A", 1).await?["outcome"] == "applied")
    })
    .await;
    let dirty = ask(&world, &run, "A", 1).await?;
    assert_eq!(dirty["held"], json!({"history": "1", "version": "1", "deleted": false}));
    assert_eq!((&dirty["via"], &dirty["dirty"]), (&json!("push"), &json!(true)), "{dirty}");
    let sinks = json!([{"sink": "index", "clean_at": null, "dirty": true}]);
    assert_eq!(dirty["sinks"], sinks);
    for step in ["lock_us", "gate_us", "apply_us"] {
        assert!(dirty["steps"][step].is_i64(), "{step} of {dirty}");
    }

    let (_, unplaced) = get(routes(&world, &run), "/sync/where/shop.items?key=A").await?;
    assert_eq!((&unplaced["dirty"], &unplaced["sinks"][0]["dirty"]), (&Value::Null, &Value::Null));

    leave.add_permits(1);
    world.until(0, "select count(*) from inbox.dirty").await;
    let clean = ask(&world, &run, "A", 1).await?;
    assert_eq!(clean["dirty"], false, "{clean}");
    let received = time(&clean["received_at"])?;
    let (applied, cleaned) = (time(&clean["applied_at"])?, time(&clean["sinks"][0]["clean_at"])?);
    assert!(received <= applied && applied <= cleaned, "{clean}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_is_clean_up_to_the_lowest_number_that_it_has_yet_to_notice() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("lowest").await?;
    let (leave, begun) = index(&mut world, &run);
    world.origin.put("A", Some(&item("a", 1)));
    eventually("A is being cleaned", async || Ok(begun.load(Ordering::SeqCst) == 1)).await;
    world.origin.put("B", Some(&item("b", 2)));
    world.at_head().await;
    leave.add_permits(1);
    let noted = "select coalesce(max(pn), 0) from inbox.cleaned";
    world.until(1, noted).await;
    let waiting = ask(&world, &run, "B", 2).await?;
    assert_eq!((&waiting["position"], &waiting["dirty"]), (&json!("2"), &json!(true)));
    assert!(waiting["sinks"][0]["clean_at"].is_null(), "{waiting}");
    let done = ask(&world, &run, "A", 1).await?;
    assert_eq!(done["dirty"], false, "{done}");
    time(&done["sinks"][0]["clean_at"])?;

    eventually("B is being cleaned", async || Ok(begun.load(Ordering::SeqCst) == 2)).await;
    for size in 3..=9 {
        world.origin.put("A", Some(&item("a", size)));
    }
    world.at_head().await;
    leave.add_permits(2);
    world.until(9, noted).await;
    // A row for each batch, and none for an event.
    assert_eq!(world.number("select count(*) from inbox.cleaned").await?, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_the_place_of_a_key_holds_its_change_back() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("place").await?;
    world.origin.put("manyB", Some(&item("a", 1)));
    world.at_head().await;
    let (leave, _) = index(&mut world, &run);
    leave.add_permits(1);
    world.until(1, "select count(*) from inbox.dirty where key = 'B' and stream = ''").await;
    let answer = ask(&world, &run, "manyB", 1).await?;
    let sinks = json!([{"sink": "index", "clean_at": null, "dirty": true}]);
    assert_eq!(answer["sinks"], sinks, "{answer}");
    leave.add_permits(1);
    world.until(1, "select coalesce(max(pn), 0) from inbox.cleaned").await;
    time(&ask(&world, &run, "manyB", 1).await?["sinks"][0]["clean_at"])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn roads_and_outcomes_are_told_apart() -> anyhow::Result<()> {
    let mut world = World::new("roads").await?;
    world.origin.put("S", Some(&item("s", 1)));
    let run = world.follow();
    world.ready(&run).await;
    let loaded = ask(&world, &run, "S", 1).await?;
    assert_eq!((&loaded["via"], &loaded["held"]["version"]), (&json!("snapshot"), &json!("1")));
    assert_eq!((&loaded["outcome"], &loaded["received_at"]), (&Value::Null, &Value::Null));

    world.origin.put("A", Some(&item("a", 2)));
    world.at_head().await;
    assert_eq!(ask(&world, &run, "A", 2).await?["via"], "feed");

    world.origin.silence();
    world.origin.put("A", Some(&item("a", 3)));
    world.origin.put("A", Some(&item("a", 4)));
    world.origin.put("C", Some(&item("c", -1)));
    world.push(3, 5).await;
    world.at_head().await;
    assert_eq!(ask(&world, &run, "A", 3).await?["outcome"], "stale");
    assert_eq!(ask(&world, &run, "A", 4).await?["outcome"], "applied");
    let refused = ask(&world, &run, "C", 5).await?;
    assert_eq!((&refused["outcome"], &refused["held"]), (&json!("case"), &Value::Null));
    let case = &refused["case"];
    assert_eq!((&case["kind"], &case["pn"]), (&json!("invalid"), &json!("5")), "{refused}");
    assert!(case["reason"].as_str().unwrap().contains("size -1 is below 0"), "{refused}");

    world.origin.put("C", Some(&item("c", 1)));
    world.push(6, 6).await;
    world.at_head().await;
    let mended = ask(&world, &run, "C", 6).await?;
    assert_eq!((&mended["outcome"], &mended["case"]), (&json!("applied"), &Value::Null));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_followed_or_not_understood_is_refused_by_name() -> anyhow::Result<()> {
    let (world, run) = World::serving("unknown-trail").await?;
    let ask = |uri: &'static str| get(routes(&world, &run), uri);
    let (status, problem) = ask("/sync/where/shop.others?key=A").await?;
    assert_eq!((status, &problem["code"]), (404, &json!("unknown-topic")), "{problem}");
    for uri in ["/sync/where/shop.items", "/sync/where/Items?key=A", "/sync/where/shop.items?key="]
    {
        let (status, problem) = ask(uri).await?;
        assert_eq!((status, &problem["code"]), (400, &json!("bad-request")), "{uri}");
    }
    // Without number and stream it says what the copy holds.
    let (status, answer) = ask("/sync/where/shop.items?key=A").await?;
    assert_eq!((status, &answer["held"], &answer["sinks"]), (200, &Value::Null, &json!([])));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_kept_for_some_days_and_the_newest_of_a_stream_for_ever() -> anyhow::Result<()> {
    let mut world = World::new("pruned").await?;
    let old = "clock_timestamp() - interval '8 days'";
    let insert = format!(
        "insert into inbox.journal (stream, rebuild, first, last, term, via, applied, stale, cases,
             received_at, lock_us, gate_us, apply_us, at)
         select 'shop.items.normal', 0, n, n, gen_random_uuid(), 'feed', 1, '{{}}', '{{}}', {old},
             0, 0, 0, case when n > 2500 then clock_timestamp() else {old} end
         from generate_series(1, 2600) as n;
         insert into inbox.cleaned (sink, stream, rebuild, pn, at)
         select 'index', 'shop.items.normal', 0, n, {old} from generate_series(1, 2600) as n;
         insert into inbox.cleaned (sink, stream, rebuild, pn) values ('other', 'a', 0, 1),
             ('other', 'a', 0, 2)"
    );
    world.owner().await?.batch_execute(&insert).await?;
    let run = world.follow();
    world.ready(&run).await;
    world.until(100, "select count(*) from inbox.journal").await;
    world.until(2, "select count(*) from inbox.cleaned where sink = 'other'").await;
    world.until(1, "select count(*) from inbox.cleaned where sink = 'index'").await;
    assert_eq!(world.number("select pn from inbox.cleaned where sink = 'index'").await?, 2_600);
    Ok(())
}
