//! Writers that do what real ones do at their worst, and remember what was acknowledged.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::world::{ITEMS, PRICES, World};

/// Concurrent writers, each with a connection of its own.
pub(crate) const WRITERS: usize = 64;

/// What the writers know: events whose commit was acknowledged, and events that were taken back.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) committed: HashSet<Uuid>,
    pub(crate) rolled_back: HashSet<Uuid>,
    pub(crate) kinds: HashSet<Kind>,
}

/// How a transaction goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Plain,
    Savepoints,
    RolledBack,
    EarlyXid,
    Prepared,
    Long,
    Many,
}

const FAST: [Kind; 6] =
    [Kind::Plain, Kind::Plain, Kind::Savepoints, Kind::RolledBack, Kind::EarlyXid, Kind::Many];

/// Lets all writers write for so long.
pub(crate) async fn write(world: &World, seed: u64, duration: Duration) -> anyhow::Result<Ledger> {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let until = Instant::now() + duration;
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let client = world.client().await?;
        let writer = Writer {
            client,
            random: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
            ledger: Arc::clone(&ledger),
            number,
            count: 0,
        };
        writers.spawn(writer.run(until));
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(std::mem::take(&mut *ledger.lock().unwrap()))
}

struct Writer {
    client: Client,
    random: StdRng,
    ledger: Arc<Mutex<Ledger>>,
    number: usize,
    count: u32,
}

impl Writer {
    async fn run(mut self, until: Instant) -> anyhow::Result<()> {
        // Some writers hold their keys for seconds; nobody waits for them that long.
        self.client.batch_execute("set lock_timeout = '200ms'").await?;
        while Instant::now() < until {
            let kind = match self.number {
                0..6 => Kind::Long,
                6..12 => Kind::Prepared,
                _ => *FAST.choose(&mut self.random).unwrap(),
            };
            let mut events = Events::default();
            let committed = self.transaction(kind, &mut events).await;
            if committed.is_err() {
                self.client.batch_execute("rollback").await?;
            }
            let mut ledger = self.ledger.lock().unwrap();
            ledger.rolled_back.extend(events.rolled_back);
            match committed {
                Ok(true) => {
                    ledger.kinds.insert(kind);
                    ledger.committed.extend(events.appended);
                }
                Ok(false) | Err(_) => ledger.rolled_back.extend(events.appended),
            }
        }
        Ok(())
    }

    /// Whether it was committed; a prepared one is always ended here.
    async fn transaction(&mut self, kind: Kind, events: &mut Events) -> anyhow::Result<bool> {
        self.client.batch_execute("begin").await?;
        match kind {
            Kind::Plain => self.append(events).await?,
            Kind::Savepoints => {
                self.append(events).await?;
                self.client.batch_execute("savepoint a").await?;
                let mut inner = Events::default();
                self.append(&mut inner).await?;
                if self.random.random_bool(0.5) {
                    self.client.batch_execute("rollback to a").await?;
                    events.rolled_back.extend(inner.appended);
                } else {
                    self.client.batch_execute("release a").await?;
                    events.appended.extend(inner.appended);
                }
                self.append(events).await?;
            }
            Kind::RolledBack => {
                self.append(events).await?;
                self.client.batch_execute("rollback").await?;
                return Ok(false);
            }
            Kind::EarlyXid => {
                self.client.batch_execute("select pg_current_xact_id()").await?;
                sleep(Duration::from_millis(self.random.random_range(1..300))).await;
                self.append(events).await?;
            }
            Kind::Prepared => return self.prepared(events).await,
            Kind::Long => {
                self.append(events).await?;
                sleep(Duration::from_millis(self.random.random_range(2000..3500))).await;
                self.append(events).await?;
            }
            Kind::Many if self.random.random_bool(0.5) => self.append_many(events).await?,
            Kind::Many => {
                for _ in 0..self.random.random_range(2..20) {
                    self.append(events).await?;
                }
            }
        }
        self.client.batch_execute("commit").await?;
        Ok(true)
    }

    async fn prepared(&mut self, events: &mut Events) -> anyhow::Result<bool> {
        self.append(events).await?;
        let id = Uuid::new_v4();
        self.client.batch_execute(&format!("prepare transaction '{id}'")).await?;
        sleep(Duration::from_millis(self.random.random_range(1..500))).await;
        let commits = self.random.random_bool(0.8);
        let end = if commits { "commit" } else { "rollback" };
        self.client.batch_execute(&format!("{end} prepared '{id}'")).await?;
        Ok(commits)
    }

    /// Never equal to the ones before, so all are appended, also those whose key comes twice.
    async fn append_many(&mut self, events: &mut Events) -> anyhow::Result<()> {
        let topic = if self.random.random_bool(0.7) { ITEMS } else { PRICES };
        let (mut keys, mut payloads, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.random.random_range(2..20) {
            self.count += 1;
            keys.push(format!("k{}", self.random.random_range(0..400)));
            payloads.push(format!("{{\"n\":{},\"by\":{}}}", self.count, self.number).into_bytes());
            ids.push(Uuid::now_v7());
        }
        let sql = "select outbox.append_many($1, $2, $3, $4)";
        self.client.query_one(sql, &[&topic, &keys, &payloads, &ids]).await?;
        events.appended.extend(ids);
        Ok(())
    }

    async fn append(&mut self, events: &mut Events) -> anyhow::Result<()> {
        self.count += 1;
        let topic = if self.random.random_bool(0.7) { ITEMS } else { PRICES };
        let key = format!("k{}", self.random.random_range(0..400));
        let event = Uuid::now_v7();
        if self.random.random_bool(0.1) {
            // May append nothing, so it is in no ledger; the database counts it.
            let sql = "select outbox.append($1, $2, 'delete', null)";
            self.client.query_one(sql, &[&topic, &key]).await?;
            return Ok(());
        }
        // Never equal to the one before, so it always appends.
        let payload = format!("{{\"n\":{},\"by\":{}}}", self.count, self.number);
        let sql = "select outbox.append($1, $2, 'upsert', $3, null, $4)";
        self.client.query_one(sql, &[&topic, &key, &payload.as_bytes(), &event]).await?;
        events.appended.push(event);
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Events {
    appended: Vec<Uuid>,
    rolled_back: Vec<Uuid>,
}
