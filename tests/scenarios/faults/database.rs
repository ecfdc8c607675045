//! A consumer loses its database, first alone and then with everybody else.

use std::time::Duration;

use anyhow::ensure;
use harness::Mesh;
use testkit::{Fault, FaultProxy};

use super::drill::{Door, Drill};

/// As long as a restart of a server takes.
const AWAY: Duration = Duration::from_secs(3);

/// All databases of a local mesh share one server. So the way of one consumer is reset first, which
/// is what a restart of a server of its own looks like to it, and then the server itself restarts,
/// for all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_restarts_is_found_again() -> anyhow::Result<()> {
    let mesh = Mesh::new()?;
    let proxy = FaultProxy::start(mesh.place_of("postgres")).await?;
    let way = format!("search-indexer:postgres={}", proxy.address().port());
    let drill = Drill::begin(mesh, &[way]).await?;
    let fault = async |drill: &Drill| {
        proxy.set(Fault::Reset);
        let numbered = drill.numbered().await?;
        tokio::time::sleep(AWAY).await;
        drill
            .until("changes flow past the consumer", async || {
                Ok(drill.numbered().await? >= numbered + 50)
            })
            .await;
        let missed = drill.numbered().await? - drill.reached("search-indexer").await?;
        ensure!(missed > 0, "it missed nothing without a database");
        proxy.set(Fault::Nothing);
        let bites = proxy.bites();
        ensure!(bites.broken > 0 && bites.refused > 0, "{bites:?}");

        let was = started(drill).await?;
        let ended = drill.mesh.restart("postgres")?;
        drill.runs_again("postgres", ended).await?;
        let now = started(drill).await?;
        ensure!(now > was, "the server did not restart: {was}, {now}");
        Ok(format!(
            "{} connections of the consumer were reset and {} refused, {missed} changes missed; \
             then the server restarted",
            bites.broken, bites.refused
        ))
    };
    drill.survives("PostgreSQL restarted", Door::Gateway, fault).await
}

/// When the server was started.
async fn started(drill: &Drill) -> anyhow::Result<String> {
    let database = drill.mesh.database("search-indexer").await?;
    let row = database.query_one("select pg_postmaster_start_time()::text", &[]).await?;
    Ok(row.get(0))
}
