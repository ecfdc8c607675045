//! Processes that die, alone or beside one that stands still.

use anyhow::{Context as _, ensure};
use harness::Mesh;

use super::drill::{Door, Drill};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_killed_goes_on_where_it_was() -> anyhow::Result<()> {
    kill("search-indexer").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_is_killed_is_missed_by_nobody() -> anyhow::Result<()> {
    kill("search-indexer-sidecar").await
}

async fn kill(name: &str) -> anyhow::Result<()> {
    let drill = Drill::begin(Mesh::new()?, &[]).await?;
    let fault = async |drill: &Drill| {
        let before = drill.reached("search-indexer").await?;
        let killed = drill.mesh.kill(name)?;
        let now = drill.runs_again(name, killed).await?;
        ensure!(before > 0, "it had not begun");
        Ok(format!("process {killed} had reached {before} when it was killed, {now} goes on"))
    };
    drill.survives(&format!("{name} killed"), Door::Gateway, fault).await
}

/// The relay has numbered what it cannot publish any more, since its sidecar stands still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_killed_between_seal_and_publish_publishes_after_all() -> anyhow::Result<()> {
    let drill = Drill::begin(Mesh::new()?, &[]).await?;
    let fault = async |drill: &Drill| {
        let frozen = drill.mesh.freeze("relay-sidecar")?;
        let unconfirmed = async || {
            let numbered = drill.numbered().await?;
            anyhow::Ok(numbered - confirmed(drill).await?)
        };
        drill
            .until("numbers are sealed that nobody has", async || Ok(unconfirmed().await? >= 50))
            .await;
        let killed = drill.mesh.kill("relay")?;
        let left = unconfirmed().await?;
        ensure!(left > 0, "everything that was sealed had arrived");
        drill
            .until("the relay runs again", async || {
                Ok(drill.mesh.part("relay")?.pid.is_some_and(|pid| pid != killed))
            })
            .await;
        drop(frozen);
        drill.runs_again("relay", killed).await?;
        Ok(format!("{left} numbers were sealed and unconfirmed when the relay was killed"))
    };
    drill.survives("relay killed, its sidecar frozen", Door::Gateway, fault).await
}

/// What the slowest consumer of each stream has reached, of all streams together.
async fn confirmed(drill: &Drill) -> anyhow::Result<i64> {
    // Both follow every stream that is written here; pricing and warehouse follow one of them.
    let reached = [drill.reached("search-indexer").await?, drill.reached("gateway").await?];
    reached.into_iter().min().context("two consumers")
}
