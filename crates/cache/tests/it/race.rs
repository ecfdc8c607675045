//! The race that a cache must not lose: slow readers, writers, invalidations late, doubled and out
//! of order, evictions, a cut-off replica, a cache that hangs and dies.
//!
//! Each view is compared with what the owners had committed. Plain cache-aside is put through the
//! same, and loses: so the race is one that can be lost.

mod copies;
mod gateway;
mod owners;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cache::{Cache, Config};
use redis::aio::ConnectionManager;
use testkit::{RedisServer, eventually};
use tokio::task::JoinSet;

use crate::{config, tell, world};
use gateway::{Gateway, Store};

/// Little memory, and entries that vanish whether they are asked for or not.
async fn squeeze(redis: &mut ConnectionManager) -> anyhow::Result<()> {
    let told: String = redis::cmd("INFO").arg("memory").query_async(redis).await?;
    let used = told.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let most = used.trim().parse::<u64>()? + (1 << 20);
    tell(redis, "CONFIG SET maxmemory-policy allkeys-random").await?;
    tell(redis, &format!("CONFIG SET maxmemory {most}")).await
}

async fn evicted(redis: &mut ConnectionManager) -> anyhow::Result<u64> {
    let told: String = redis::cmd("INFO").arg("stats").query_async(redis).await?;
    let evicted = told.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap();
    Ok(evicted.trim().parse()?)
}

/// A run under way.
struct Race {
    gateway: Arc<Gateway>,
    living: JoinSet<()>,
}

impl Race {
    fn start(store: Store, redis: &ConnectionManager) -> Self {
        let seed = rand::random();
        println!("seed {seed}");
        let gateway = Arc::new(Gateway::new(seed, store, redis.clone()));
        let mut living = JoinSet::new();
        let lives = Arc::clone(&gateway);
        living.spawn(async move { lives.live().await });
        Self { gateway, living }
    }

    /// Waits until so many more of it were seen.
    async fn sees(&self, more: u64, what: &str) {
        let target = self.gateway.count(what) + more;
        eventually(what, || async {
            let counts = self.gateway.counts();
            anyhow::ensure!(self.gateway.count(what) >= target, "{counts}");
            Ok(true)
        })
        .await;
    }

    /// Waits while a fault lasts until so many more of it were seen.
    async fn sees_while(&self, fault: &AtomicBool, more: u64, what: &str) {
        fault.store(true, Ordering::Relaxed);
        self.sees(more, what).await;
        fault.store(false, Ordering::Relaxed);
    }

    async fn end(mut self) -> Arc<Gateway> {
        self.gateway.faults.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.living.join_next().await {
            ended.unwrap();
        }
        println!("{}", self.gateway.counts());
        self.gateway
    }
}

/// Covers: P8.
#[tokio::test(flavor = "multi_thread")]
async fn no_old_value_is_ever_shown_as_fresh() -> anyhow::Result<()> {
    let (mut server, _, mut redis) = world().await?;
    let strict = Config { cache_answer_ms_max: 100, ..config(&server.url()) };
    let race = Race::start(Store::Leased(Cache::connect(&strict).await?), &redis);
    let faults = &race.gateway.faults;
    squeeze(&mut redis).await?;
    race.sees(20, "fills refused").await;
    race.sees(50, "hits").await;
    race.sees(1, "old ones for an owner out of reach").await;
    race.sees(1, "entries taken away").await;
    eventually("memory is full", || async { Ok(evicted(&mut redis.clone()).await? > 0) }).await;

    race.sees_while(&faults.replica_is_cut_off, 20, "stale there").await;
    race.sees(20, "fresh there").await;
    race.sees_while(&faults.copies_are_cut_off, 5, "old and flagged").await;
    race.sees(20, "fresh here").await;

    server.pause()?;
    race.sees(5, "looks that failed").await;
    race.sees(1, "invalidations that failed").await;
    server.resume()?;
    race.sees(20, "hits").await;
    server.restart().await?;
    race.sees(20, "hits").await;
    race.sees(20, "fresh here").await;

    let gateway = race.end().await;
    for wrong in ["OLD AS FRESH", "OLDER THAN PROVEN", "OLDER THAN CARRIED OUT"] {
        assert_eq!(gateway.count(wrong), 0, "{wrong}: {}", gateway.counts());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_cache_aside_does_show_old_values_as_fresh() -> anyhow::Result<()> {
    let server = RedisServer::cache().await?;
    let redis = ConnectionManager::new(redis::Client::open(server.url())?).await?;
    let race = Race::start(Store::Aside(redis.clone()), &redis);
    race.sees(1, "OLD AS FRESH").await;
    race.end().await;
    Ok(())
}
