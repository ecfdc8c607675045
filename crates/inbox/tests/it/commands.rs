//! The routes: the state of every copy, and the command to load one anew.

use std::time::Duration;

use axum::Router;
use bus::Bus;
use inbox::{Config, Error};
use secrecy::SecretString;
use serde_json::Value;
use testkit::eventually;
use tokio::task::JoinSet;

use crate::origin::item;
use crate::world::{Run, World};

async fn serve(routes: Router, tasks: &mut JoinSet<()>) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Ok(url)
}

async fn routes(world: &World, run: &Run, tasks: &mut JoinSet<()>) -> anyhow::Result<String> {
    let bus = Bus::memory(&world.hub).with_app_token(SecretString::from("open sesame"));
    serve(run.config.monitor.routes(world.pool.clone(), &bus), tasks).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_shows_the_books_of_every_stream() -> anyhow::Result<()> {
    let (world, run) = World::serving("status").await?;
    let mut tasks = JoinSet::new();
    let url = routes(&world, &run, &mut tasks).await?;
    for (key, size) in [("A", 1), ("A", 2), ("B", 13)] {
        world.origin.put(key, Some(&item(key, size)));
    }
    world.push(1, 3).await;
    world.at_head().await;
    let body = reqwest::get(format!("{url}/sync/status")).await?.text().await?;
    let status: Value = serde_json::from_str(&body)?;
    assert_eq!((&status["service"], &status["ready"]), (&"test".into(), &true.into()), "{body}");
    let topic = &status["topics"][0];
    assert_eq!(topic["topic"], "shop.items");
    assert_eq!(topic["phase"], "serving");
    assert_eq!(topic["open_cases"], 1);
    assert_eq!(topic["lag_events"], 0);
    let stream = &topic["streams"][0];
    assert_eq!(stream["position"], "3");
    let ledger = &stream["ledger"];
    let outcomes = ["applied", "stale", "open_cases", "imbalance"];
    let counts: Vec<_> = outcomes.iter().map(|name| ledger[name].as_i64()).collect();
    assert_eq!(counts, [Some(1), Some(1), Some(1), Some(0)], "{body}");
    assert_eq!(status["dirty"][0]["sink"], "index");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_commanded_with_the_app_token_only() -> anyhow::Result<()> {
    let (world, run) = World::serving("commanded").await?;
    let mut tasks = JoinSet::new();
    let url = routes(&world, &run, &mut tasks).await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.at_head().await;
    let http = reqwest::Client::new();
    let post = |path: &str| http.post(format!("{url}{path}"));
    let refused = post("/sync/rebuild/shop.items").send().await?;
    assert_eq!(refused.status(), 401);
    let token = |request: reqwest::RequestBuilder| request.header("dapr-api-token", "open sesame");
    let unknown = token(post("/sync/rebuild/shop.others")).send().await?;
    assert_eq!(unknown.status(), 404);
    let accepted = token(post("/sync/rebuild/shop.items?damaged=true")).send().await?;
    assert_eq!(accepted.status(), 202);
    world.until(2, "select rebuild from inbox.topic where phase = 'serving'").await;
    assert_eq!(world.number("select history from inbox.topic").await?, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_of_damage_is_not_taken_back_by_a_plain_command() -> anyhow::Result<()> {
    let (world, run) = World::serving("outranked").await?;
    let mut tasks = JoinSet::new();
    let url = routes(&world, &run, &mut tasks).await?;
    world.origin.hold();
    let http = reqwest::Client::new();
    for query in ["?damaged=true", ""] {
        let path = format!("{url}/sync/rebuild/shop.items{query}");
        let answer = http.post(path).header("dapr-api-token", "open sesame").send().await?;
        assert_eq!(answer.status(), 202);
    }
    world.origin.release();
    world.until(2, "select history from inbox.topic").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_not_ready_says_what_it_misses() -> anyhow::Result<()> {
    let mut world = World::new("unready").await?;
    assert!(world.config().monitor.readiness().unwrap_err().contains("no topic"));
    let source = std::mem::replace(&mut world.url, "http://127.0.0.1:9".to_owned());
    let run = world.follow();
    let says = async |words: &str| {
        eventually(words, async || {
            let why = run.config.monitor.readiness().err().unwrap_or_default();
            Ok(why.contains("shop.items") && why.contains(words))
        })
        .await;
    };
    says("was never loaded: ask http://127.0.0.1:9").await;
    world.owner().await?.batch_execute("alter table inbox.position rename to gone").await?;
    says("use the database of the inbox").await;
    world.owner().await?.batch_execute("alter table inbox.gone rename to position").await?;
    says("was never loaded: ask").await;
    run.stop().await;

    world.url = source;
    let run = world.follow();
    world.ready(&run).await;
    assert_eq!(run.config.monitor.readiness(), Ok(()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_nobody_can_find_is_refused_at_the_start() -> anyhow::Result<()> {
    let world = World::new("roadless").await?;
    let config = Config { relay_urls: Vec::new(), ..world.config() };
    let running = inbox::run(config, world.pool.clone(), Bus::none(), world.projection.clone());
    let refused = tokio::time::timeout(Duration::from_secs(5), running).await?;
    let Err(Error::Config(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("RELAY_URL_SHOP"), "{reason}");
    Ok(())
}
