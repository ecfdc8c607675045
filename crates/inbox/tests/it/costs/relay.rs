//! What ticks and publishing cost a relay.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus::{Bus, Delivery, Handler, Memory, Verdict};
use contracts::{Envelope, Source, Topic};
use deadpool_postgres::Pool;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use outbox::{Config, Relay, Turn, Tx, append_many};
use serde_json::{Value, json};
use testkit::{Lockstep, Trip, eventually};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::{Cost, ENVELOPE_CHANGES, NOTHING, READING, TICK, check, logged_so_far, source};
use crate::origin::TOPIC;

/// How many changes become visible at once.
const SIZES: [usize; 6] = [1, 10, 100, 1_000, 1, 1_000];
/// The relay cuts a segment after so many.
const SEGMENT_CHANGES: usize = 1_000;
/// Idle ticks that must be seen to log nothing, and in how many at most: others log meanwhile.
const SILENT_TICKS: usize = 20;
const IDLE_TICKS_MAX: usize = 2_000;

/// The name of the sessions that answer and publish; ticks have one of their own.
const READS: &str = "relay";

fn open(wire: &Lockstep, bus: Bus) -> anyhow::Result<Relay> {
    // One session reads, so that each statement is prepared once only.
    let config = Config { connections_max: 1, ..Config::default() };
    Ok(Relay::open(&config, Source::parse("shop")?, &wire.url().into(), bus)?)
}

/// Changes as many entities in one transaction.
async fn append(pool: &Pool, round: usize, count: usize) -> anyhow::Result<()> {
    let client = pool.get().await?;
    let items: Vec<(String, Value)> = (0..count)
        .map(|n| (format!("K{n:04}"), json!({"name": format!("{round}"), "size": n})))
        .collect();
    let items: Vec<_> = items.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tx = Tx::begin(&client);
    append_many(&tx, TOPIC, &items).await?;
    Ok(tx.commit().await?)
}

/// What belongs to publishing itself. How far that went is saved now and then, by the clock, for
/// all envelopes of that time.
fn publishing(trips: Vec<Trip>) -> Vec<Trip> {
    let saves = |trip: &Trip| {
        trip.prepared.iter().chain(&trip.statements).any(|sql| sql.contains("outbox.publish_mark"))
    };
    trips.into_iter().filter(|trip| trip.application == READS && !saves(trip)).collect()
}

/// What the sessions of a database have done to a table.
#[derive(Debug, PartialEq, Eq)]
struct Touched {
    inserted: i64,
    updated: i64,
    deleted: i64,
}

async fn touched(client: &Client, tables: &str) -> anyhow::Result<Touched> {
    let sql = "select sum(n_tup_ins)::bigint as inserted, sum(n_tup_upd)::bigint as updated,
                      sum(n_tup_del)::bigint as deleted
                 from pg_stat_user_tables where schemaname = 'outbox' and relname like $1";
    let row = client.query_one(sql, &[&tables]).await?;
    let [inserted, updated, deleted] = ["inserted", "updated", "deleted"].map(|c| row.get(c));
    Ok(Touched { inserted, updated, deleted })
}

/// Ticks with nothing to find, until enough were seen that logged nothing; one that writes logs.
async fn idle(relay: &Relay, wire: &Lockstep, client: &Client) -> anyhow::Result<usize> {
    let (mut ticks, mut silent) = (0, 0);
    while silent < SILENT_TICKS {
        assert!(ticks < IDLE_TICKS_MAX, "{silent} of {ticks} idle ticks logged nothing");
        let before = logged_so_far(client).await?;
        assert_eq!(relay.turn().await?, Turn::Idle);
        silent += usize::from(logged_so_far(client).await? == before);
        ticks += 1;
        assert_eq!(Cost::of(&wire.take()), TICK);
    }
    Ok(ticks)
}

#[tokio::test]
async fn a_tick_is_one_durable_statement_and_an_idle_one_writes_nothing() -> anyhow::Result<()> {
    let database = source().await?;
    let client = database.connect().await?;
    // What is durable is so by the relay's own will.
    let forgetful = format!("alter database \"{}\" set synchronous_commit = off", database.name());
    client.batch_execute(&forgetful).await?;
    let wire = Lockstep::before(&database.url())?;
    testkit::connect(wire.url()).await?.batch_execute("select 1").await?;
    assert!(wire.take().iter().all(|trip| !trip.is_durable), "others forget");
    let (relay, pool) = (open(&wire, Bus::none())?, database.pool(1)?);
    assert_eq!(relay.turn().await?, Turn::Idle);
    let mut segments = 0;
    for (round, count) in SIZES.into_iter().enumerate() {
        append(&pool, round, count).await?;
        wire.take();
        assert_eq!(relay.turn().await?, Turn::Sealed(u64::try_from(count)?));
        let trips = wire.take();
        check(&format!("a tick that finds {count}"), &trips, TICK);
        assert!(trips.iter().all(|trip| trip.is_durable));
        segments += count.div_ceil(SEGMENT_CHANGES);
    }
    let ticks = idle(&relay, &wire, &client).await?;
    println!("each of {ticks} idle ticks: {TICK}; {SILENT_TICKS} of them seen to log nothing");

    // Sessions count what they did when they end.
    drop((relay, pool));
    let (changes, seals) =
        (i64::try_from(SIZES.iter().sum::<usize>())?, i64::try_from(SIZES.len())?);
    let done = |inserted, updated| Touched { inserted, updated, deleted: 0 };
    eventually("all was counted", async || {
        let fence = touched(&client, "tick").await?;
        Ok(touched(&client, "change%").await?.inserted >= changes && fence.updated > seals)
    })
    .await;
    // The fence moves with the takeover and with each seal, not with an idle tick.
    assert_eq!(touched(&client, "tick").await?, done(1, 1 + seals));
    assert_eq!(touched(&client, "stream").await?, done(1, seals - 1));
    assert_eq!(touched(&client, "segment").await?, done(i64::try_from(segments)?, 0));
    assert_eq!(touched(&client, "change%").await?, done(changes, 0));
    Ok(())
}

/// Counts what it is given.
#[derive(Default)]
struct Heard {
    envelopes: AtomicUsize,
    changes: AtomicUsize,
}

impl Handler for Heard {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Verdict> {
        let envelope = Envelope::parse(&delivery.body).unwrap();
        self.envelopes.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(envelope.changes.len(), Ordering::Relaxed);
        async { Verdict::Done }.boxed()
    }
}

#[tokio::test]
async fn an_envelope_is_handed_over_once_and_only_much_is_read_again() -> anyhow::Result<()> {
    let database = source().await?;
    let wire = Lockstep::before(&database.url())?;
    let (hub, heard) = (Memory::new(), Arc::new(Heard::default()));
    let listener = Bus::memory(&hub);
    listener.subscribe(&Topic::parse(TOPIC)?, Arc::clone(&heard) as Arc<dyn Handler>);
    let (relay, pool) = (open(&wire, Bus::memory(&hub))?, database.pool(1)?);
    let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
    let until = stop.clone();
    running.spawn(async move { relay.run(until).await });
    // The first one that reads prepares.
    let (sizes, mut is_prepared) = ([1, 1_000].into_iter().chain(SIZES), false);
    for (round, count) in sizes.enumerate() {
        wire.take();
        append(&pool, round, count).await?;
        eventually("all is published", async || Ok(heard.changes.load(Ordering::Relaxed) == count))
            .await;
        heard.changes.store(0, Ordering::Relaxed);
        let envelopes = heard.envelopes.swap(0, Ordering::Relaxed);
        assert_eq!(envelopes, count.div_ceil(ENVELOPE_CHANGES));
        let trips = publishing(wire.take());
        let step = format!("publishing {count} changes in {envelopes} envelopes");
        if count <= ENVELOPE_CHANGES {
            assert_eq!(Cost::of(&trips), NOTHING, "{step}: the tick answered them");
        } else if is_prepared {
            check(&step, &trips, READING);
        }
        is_prepared |= count > ENVELOPE_CHANGES;
    }
    stop.cancel();
    running.join_all().await;
    Ok(())
}
