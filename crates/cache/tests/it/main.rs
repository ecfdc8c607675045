//! The cache against a real Redis of its own.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a surprise fails the test")]
#![expect(clippy::print_stdout, reason = "a run that fails names its seed")]

mod entries;
mod fitness;
mod outages;
mod race;

use cache::{Cache, Config, Fill, Look, Vector, Version};
use redis::aio::ConnectionManager;
use redis::{Client, Cmd};
use testkit::RedisServer;

fn config(url: &str) -> Config {
    Config {
        cache_url: url.into(),
        cache_current_ms_max: 600_000,
        cache_old_ms_max: 600_000,
        cache_answer_ms_max: 1_000,
    }
}

/// A cache that tests may keep waiting, and a way past it.
async fn world() -> anyhow::Result<(RedisServer, Cache, ConnectionManager)> {
    let server = RedisServer::cache().await?;
    let cache = Cache::connect(&config(&server.url())).await?;
    let redis = ConnectionManager::new(Client::open(server.url())?).await?;
    Ok((server, cache, redis))
}

async fn tell(redis: &mut ConnectionManager, command: &str) -> anyhow::Result<()> {
    let mut told = Cmd::new();
    for word in command.split(' ') {
        told.arg(word);
    }
    Ok(told.exec_async(redis).await?)
}

fn version(n: i64) -> Version {
    Version::try_from(n).unwrap()
}

fn vector(parts: &[(&str, i64)]) -> Vector {
    parts.iter().map(|(part, n)| (*part, version(*n))).collect()
}

/// Fills an entry that has no current value.
async fn fill(cache: &Cache, key: &cache::Key, parts: &[(&str, i64)]) -> anyhow::Result<Fill> {
    let Look::Miss { lease, .. } = cache.look(key).await? else { anyhow::bail!("a hit") };
    Ok(cache.fill(&lease, "value".into(), &vector(parts), None).await?)
}
