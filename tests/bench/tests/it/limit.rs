//! The probes run against real servers and leave nothing behind.

use std::time::Duration;

use bench::limit::{Place, measure};
use redis::AsyncCommands as _;
use testkit::Servers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_limit_is_measured_again_and_again_and_nothing_is_left() -> anyhow::Result<()> {
    let servers = Servers::from_env()?;
    let place = Place {
        database_url: servers.database_url.clone().into(),
        redis_url: servers.redis_url.clone().into(),
        probe: Duration::from_millis(200),
    };
    for _ in 0..2 {
        let limit = measure(&place).await?;
        let each = [limit.commits, limit.added, limit.read, limit.upserted];
        println!("{limit:?}");
        assert!(each.iter().all(|rate| *rate > 100.0), "{limit:?}");
        assert!(limit.narrowest() <= limit.commits);
    }
    let client = redis::Client::open(servers.redis_url.as_str())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let left: Vec<String> = connection.keys("bench-limit-*").await?;
    assert!(left.is_empty(), "{left:?}");
    let (server, _) = servers.database_url.rsplit_once('/').unwrap_or_default();
    let database = testkit::connect(&format!("{server}/bench_limit")).await?;
    let row = database.query_one("select count(*) as changes from limits.change", &[]).await?;
    assert_eq!(row.get::<_, i64>("changes"), 0);
    Ok(())
}
