//! The broker forgets everything: consumers read from the source what they miss.

use std::time::Duration;

use anyhow::ensure;
use harness::Mesh;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

use super::drill::{Door, Drill};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_broker_loses_nothing() -> anyhow::Result<()> {
    let drill = Drill::begin(Mesh::new()?, &[]).await?;
    let fault = async |drill: &Drill| {
        let mut broker = connect(drill).await?;
        let before = added(&mut broker).await?;
        let () = redis::cmd("FLUSHALL").query_async(&mut broker).await?;
        let after = added(&mut broker).await?;
        ensure!(before > after, "{before} envelopes before, {after} after");
        Ok(format!("{before} envelopes and all groups were forgotten"))
    };
    drill.survives("stream Redis flushed", Door::Gateway, fault).await
}

/// Covers: F10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_comes_back_empty_loses_nothing() -> anyhow::Result<()> {
    let drill = Drill::begin(Mesh::new()?, &[]).await?;
    let fault = async |drill: &Drill| {
        let mut broker = connect(drill).await?;
        let before = added(&mut broker).await?;
        let was = drill.mesh.part("redis")?.pid;
        let away = drill.mesh.without("redis")?;
        ensure!(added(&mut broker).await.is_err(), "the broker still answers");
        let numbered = drill.numbered().await?;
        drill
            .until("changes are numbered without a broker", async || {
                Ok(drill.numbered().await? >= numbered + 50)
            })
            .await;
        drop(away);
        drill.runs_again("redis", was.unwrap_or_default()).await?;
        let after = added(&mut connect(drill).await?).await?;
        ensure!(before > after, "{before} envelopes before, {after} after");
        Ok(format!("{before} envelopes were gone; 50 changes were numbered meanwhile"))
    };
    drill.survives("stream Redis killed, back empty", Door::Gateway, fault).await
}

async fn connect(drill: &Drill) -> anyhow::Result<MultiplexedConnection> {
    let client = redis::Client::open(drill.mesh.broker_url()?)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    connection.set_response_timeout(Duration::from_secs(5));
    Ok(connection)
}

/// How many envelopes were ever added to the streams that are there.
async fn added(broker: &mut MultiplexedConnection) -> anyhow::Result<i64> {
    let streams: Vec<String> = broker.keys("*").await?;
    let mut added = 0;
    for stream in streams {
        let told: Vec<redis::Value> =
            redis::cmd("XINFO").arg("STREAM").arg(&stream).query_async(broker).await?;
        let pairs: Vec<_> = told.chunks(2).collect();
        for pair in pairs {
            let [name, value] = pair else { continue };
            if redis::from_redis_value::<String>(name.clone())? == "entries-added" {
                added += redis::from_redis_value::<i64>(value.clone())?;
            }
        }
    }
    Ok(added)
}
