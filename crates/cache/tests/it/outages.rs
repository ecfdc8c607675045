//! A cache that is gone, hangs or comes back keeps nobody waiting, and never with an old value.

use std::time::{Duration, Instant};

use cache::{Cache, Config, Fill, Invalidation, Key, Look};
use testkit::{RedisServer, eventually};

use crate::{config, fill, vector, version, world};

/// What a newcomer gets.
fn strict(url: &str) -> Config {
    Config { cache_answer_ms_max: 100, ..config(url) }
}

fn key() -> Key {
    Key::new("n", "product", "a")
}

/// The longest that each of some calls took, all of which failed.
async fn failing(cache: &Cache, lease: &cache::Lease) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        let begun = Instant::now();
        assert!(cache.look(&key()).await.is_err_and(|error| error.is_unreachable()));
        longest = longest.max(begun.elapsed());
        let begun = Instant::now();
        assert!(cache.fill(lease, "late".into(), &vector(&[("price", 1)]), None).await.is_err());
        longest = longest.max(begun.elapsed());
    }
    longest
}

#[tokio::test]
async fn a_cache_that_is_gone_or_hangs_keeps_nobody_waiting() -> anyhow::Result<()> {
    let mut server = RedisServer::cache().await?;
    let cache = Cache::connect(&strict(&server.url())).await?;
    let Look::Miss { lease, .. } = cache.look(&key()).await? else { panic!("a hit") };
    // The limit is 100 ms; the rest is for a busy machine.
    server.pause()?;
    assert!(failing(&cache, &lease).await < Duration::from_millis(400));
    server.kill()?;
    assert!(failing(&cache, &lease).await < Duration::from_millis(400));
    server.restart().await?;
    eventually("the cache is used again", || async { Ok(cache.look(&key()).await.is_ok()) }).await;
    let filled = cache.fill(&lease, "old".into(), &vector(&[("price", 1)]), None).await?;
    assert_eq!(filled, Fill::Refused, "a lease outlived its entry");
    assert_eq!(fill(&cache, &key(), &[("price", 2)]).await?, Fill::Stored);
    Ok(())
}

#[tokio::test]
async fn a_cache_that_is_not_there_at_the_start_is_used_once_it_is() -> anyhow::Result<()> {
    let mut server = RedisServer::cache().await?;
    server.kill()?;
    let cache = Cache::connect(&strict(&server.url())).await?;
    assert!(cache.look(&key()).await.is_err_and(|error| error.is_unreachable()));
    server.restart().await?;
    eventually("the cache is used", || async { Ok(cache.look(&key()).await.is_ok()) }).await;
    Ok(())
}

#[tokio::test]
async fn a_fill_that_was_given_up_and_comes_late_is_refused_all_the_same() -> anyhow::Result<()> {
    let server = RedisServer::cache().await?;
    let cache = Cache::connect(&strict(&server.url())).await?;
    let Look::Miss { lease, .. } = cache.look(&key()).await? else { panic!("a hit") };
    server.pause()?;
    // It waits in the hanging server's buffer, behind an invalidation.
    let gone = Invalidation { key: key(), part: "price".into(), version: Some(version(2)) };
    assert!(cache.invalidate(&[gone]).await.is_err());
    assert!(cache.fill(&lease, "old".into(), &vector(&[("price", 1)]), None).await.is_err());
    server.resume()?;
    eventually("the cache answers", || async { Ok(cache.check().await.is_ok()) }).await;
    assert!(matches!(cache.look(&key()).await?, Look::Miss { old: None, .. }));
    Ok(())
}

#[tokio::test]
async fn a_late_answer_makes_no_later_one_later() -> anyhow::Result<()> {
    let (server, _, mut redis) = world().await?;
    let cache = Cache::connect(&strict(&server.url())).await?;
    let checks = async |redis: &mut redis::aio::ConnectionManager| -> anyhow::Result<String> {
        let told: String = redis::cmd("INFO").arg("commandstats").query_async(redis).await?;
        let line = told.lines().find(|line| line.starts_with("cmdstat_config|get:"));
        let calls = line.and_then(|line| line.split([':', ',']).nth(1));
        Ok(calls.unwrap_or_default().to_owned())
    };
    let before = checks(&mut redis).await?;
    assert_ne!(before, "");
    server.pause()?;
    for _ in 0..3 {
        assert!(cache.look(&key()).await.is_err_and(|error| error.is_unreachable()));
    }
    server.resume()?;
    eventually("the cache is used again", || async { Ok(cache.look(&key()).await.is_ok()) }).await;
    assert_eq!(checks(&mut redis).await?, before, "it is the same instance as before");
    Ok(())
}
