//! What would lose deliveries in silence ends the service at its start, with what mends it.

use std::fs;
use std::time::Duration;

use bus::{Bus, Config, Error, Transport, Unfit};
use secrecy::SecretString;
use tempfile::TempDir;
use testkit::RedisServer;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::conformance::world::TURNS;
use crate::sidecar::Host;

const COMPONENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../components");
/// For what has to be looked at over the network first.
const PATIENCE: Duration = Duration::from_secs(30);
/// So long something that is fit is watched for an end.
const WHILE: Duration = Duration::from_secs(2);

/// How a running bus ends by itself, in this time.
async fn end(config: &Config, limit: Duration) -> Option<Result<(), Error>> {
    let bus = Bus::connect(config, "search-indexer").unwrap();
    timeout(limit, bus.run(CancellationToken::new())).await.ok()
}

fn direct(server: &RedisServer) -> Config {
    Config {
        transport: Transport::Redis,
        redis_url: Some(SecretString::from(server.url())),
        dapr_http_port: 1,
        dapr_grpc_port: 1,
        dapr_metrics_port: None,
        dapr_api_token: None,
        app_api_token: SecretString::from("token"),
    }
}

#[tokio::test]
async fn a_redis_that_drops_streams_ends_the_service() -> anyhow::Result<()> {
    let (streams, cache) = (RedisServer::streams().await?, RedisServer::cache().await?);
    let ended = end(&direct(&cache), PATIENCE).await.expect("it ends").unwrap_err();
    assert!(matches!(&ended, Error::Unfit(Unfit::Policy(policy)) if policy == "allkeys-lru"));
    assert!(end(&direct(&streams), WHILE).await.is_none());
    Ok(())
}

#[tokio::test]
async fn a_redis_that_cannot_be_asked_yet_is_waited_for() -> anyhow::Result<()> {
    let mut cache = RedisServer::cache().await?;
    cache.kill()?;
    assert!(end(&direct(&cache), WHILE).await.is_none());
    let config = direct(&cache);
    let (ended, restarted) = tokio::join!(end(&config, PATIENCE), cache.restart());
    restarted?;
    assert!(matches!(ended, Some(Err(Error::Unfit(Unfit::Policy(_))))), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn a_sidecar_that_tries_nothing_again_ends_the_service() -> anyhow::Result<()> {
    let _turn = TURNS.lock().await;
    let server = RedisServer::streams().await?;
    let careless = TempDir::new()?;
    for folder in ["", "subscriptions"] {
        fs::create_dir_all(careless.path().join(folder))?;
        for file in fs::read_dir(format!("{COMPONENTS}/{folder}"))? {
            let file = file?;
            if file.file_type()?.is_file() && file.file_name() != "resiliency.yaml" {
                fs::copy(file.path(), careless.path().join(folder).join(file.file_name()))?;
            }
        }
    }
    let host = Host::with_components(&server.url(), careless.path())?;
    let sidecar = host.sidecar("search-indexer", 1).await?;
    let ended = end(&sidecar.config(), PATIENCE).await.expect("it ends").unwrap_err();
    assert!(matches!(ended, Error::Unfit(Unfit::NoRetries)), "{ended}");

    let host = Host::new(&server.url())?;
    let sidecar = host.sidecar("search-indexer", 1).await?;
    assert!(end(&sidecar.config(), WHILE).await.is_none());
    // Its broker is looked at where it is known.
    let cache = RedisServer::cache().await?;
    let redis_url = Some(SecretString::from(cache.url()));
    let ended = end(&Config { redis_url, ..sidecar.config() }, PATIENCE).await.expect("it ends");
    assert!(matches!(ended, Err(Error::Unfit(Unfit::Policy(_)))), "{ended:?}");
    Ok(())
}
