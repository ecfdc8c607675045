//! Versions are those of the servers and programs that a run uses.

use std::path::Path;

use bench::machine::versions;
use testkit::Servers;

#[tokio::test]
async fn versions_are_those_of_the_servers() -> anyhow::Result<()> {
    let servers = Servers::from_env()?;
    let (database, redis) = (servers.database_url.into(), servers.redis_url.into());
    let absent = Path::new("/nonexistent/daprd");
    let versions = versions(&database, &redis, absent).await?;
    for name in ["postgres", "redis", "rustc"] {
        let is_number = versions[name].starts_with(|letter: char| letter.is_ascii_digit());
        assert!(is_number, "{name}: {versions:?}");
    }
    assert_eq!(versions["daprd"], "unknown");
    assert!(!versions["commit"].is_empty());
    Ok(())
}
