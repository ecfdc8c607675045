//! Wear: changes flow while relay, consumer, PostgreSQL and Redis lose what runs in them, in turn.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;
use testkit::connect;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::DRAIN_LIMIT;
use super::load::{Counts, Load, numbered, take_text};
use super::writing::Writer;
use crate::figures::Figures;
use crate::lane::{Running, Syncline};
use crate::measure::{Notes, join};
use crate::meter::BACKEND;

const PUBLISHED: &str = include_str!("../../queries/published_versions.sql");
const COPIED: &str = include_str!("../../queries/copied_versions.sql");

/// Between two kills.
const PAUSE: Duration = Duration::from_secs(20);
/// How long a lane may take to keep up again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(20);

/// What is killed, in turn.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Consumer,
    Relay,
    Connections,
    Postgres,
}

const VICTIMS: [Victim; 4] =
    [Victim::Consumer, Victim::Relay, Victim::Connections, Victim::Postgres];

/// Runs a load through kills; everything that was committed must arrive, and nothing twice.
pub async fn kills(
    lane: &mut Syncline,
    running: &mut Running,
    load: &Load,
) -> anyhow::Result<Figures> {
    take_text(running).await?;
    let (after, counts) = (lane.head().await?, Counts::read(lane).await?);
    let writer = Writer::of(lane, load).await?;
    let (mut told, mut recoveries) = (String::new(), Vec::new());
    let written = {
        // Only what the writer needs is lent to it.
        let writing = writer.go();
        tokio::pin!(writing);
        let mut turn = VICTIMS.iter().cycle();
        loop {
            tokio::select! {
                written = &mut writing => break written?,
                () = sleep(PAUSE) => {}
            }
            let victim = turn.next().copied().context("a victim")?;
            // What a consumer noted dies with it.
            told += &take_text(running).await.unwrap_or_default();
            let start = Instant::now();
            let killing = async {
                strike(lane, running, victim).await?;
                recovered(lane).await
            };
            tokio::pin!(killing);
            tokio::select! {
                struck = &mut killing => { struck?; recoveries.push(start.elapsed()); }
                // The load ended while the lane recovered: that kill has no figure.
                written = &mut writing => { killing.await?; break written?; }
            }
        }
    };
    lane.next += written.count();
    lane.drain(DRAIN_LIMIT).await?;
    running.check()?;
    told += &take_text(running).await?;
    let notes = Notes::read(&told, Syncline::stream().as_str())?;
    let mut figures = join(&written.ops, &numbered(lane, after).await?, &notes)?;
    // What a consumer noted last dies with it, so what was lost is told by the rows themselves.
    figures.lost = differing(lane).await?;
    figures.offered = load.rate;
    counts.since(lane, &mut figures).await?;
    let slowest = recoveries.iter().max().map_or(0.0, Duration::as_secs_f64);
    let count = u32::try_from(recoveries.len()).map_or(0.0, f64::from);
    figures.others.insert("recovery_max_s".to_owned(), slowest);
    figures.others.insert("kills".to_owned(), count);
    Ok(figures)
}

/// Products of which the copy has another version than the source published.
async fn differing(lane: &Syncline) -> anyhow::Result<u64> {
    let (source, copy) = (lane.source.connect().await?, lane.copy.connect().await?);
    let published = versions(&source, PUBLISHED).await?;
    let copied = versions(&copy, COPIED).await?;
    let missing = published.iter().filter(|(key, version)| {
        version.is_some() && copied.get(*key).copied().flatten() != **version
    });
    let missing = missing.count();
    let surplus = copied.keys().filter(|key| !published.contains_key(*key)).count();
    Ok(u64::try_from(missing + surplus)?)
}

async fn versions(client: &Client, sql: &str) -> anyhow::Result<HashMap<String, Option<i64>>> {
    let rows = client.query(sql, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get("key")?, row.try_get("version")?))).collect()
}

async fn strike(lane: &Syncline, running: &mut Running, victim: Victim) -> anyhow::Result<()> {
    match victim {
        Victim::Consumer => {
            let mut consumer = running.consumer.take().context("the consumer is away")?;
            consumer.kill().await?;
            running.consumer = Some(lane.consumer(&running.relay).await?);
        }
        Victim::Relay => {
            let port = running.relay.port;
            running.relay.kill().await?;
            running.relay = lane.relay_at(&[], port).await?;
        }
        Victim::Connections => {
            let client = redis::Client::open(lane.place().redis_url.expose_secret())?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("CLIENT")
                .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
                .exec_async(&mut connection)
                .await?;
        }
        Victim::Postgres => {
            // The server gives up all that its sessions share when one of them dies so, and starts
            // again from its log.
            let session = lane.source.connect().await?;
            let pid: i32 = session.query_one(BACKEND, &[]).await?.try_get("pid")?;
            kill_process(Pid::from_raw(pid).context("a pid")?, Signal::KILL)?;
        }
    }
    Ok(())
}

/// Waits until what was committed after the kill has arrived.
async fn recovered(lane: &Syncline) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut goal = None;
    while start.elapsed() < RECOVERY_LIMIT {
        let known = match goal {
            None => lane.head().await,
            Some(_) => lane.position().await,
        };
        match (known, goal) {
            // A server that starts again refuses for a moment.
            (Err(_), _) => {}
            (Ok(head), None) => goal = Some(head + 1),
            (Ok(position), Some(goal)) if position >= goal => return Ok(()),
            (Ok(_), Some(_)) => {}
        }
        sleep(LOOK).await;
    }
    connect(lane.place().database_url.expose_secret()).await?;
    anyhow::bail!("nothing arrives {RECOVERY_LIMIT:?} after a kill")
}
