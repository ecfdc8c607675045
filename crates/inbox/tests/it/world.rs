//! A database, a broker, a source and a consumer whose copy is one table.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bus::{Bus, Memory};
use bytes::Bytes;
use contracts::{Lane, Source};
use deadpool_postgres::{Manager, Pool};
use inbox::{Change, Config, Dirty, Error, Projection, Road, Transaction};
use testkit::{Database, eventually};
use tokio::task::{AbortHandle, JoinSet};
use tokio_postgres::NoTls;

use crate::origin::{Origin, TOPIC, stream};

const COPY: &str = "
    create schema copy;
    create table copy.items (
        key text primary key, version bigint not null, name text not null,
        size int not null check (size <> 13), applied int not null default 1
    );
    grant usage on schema copy to syncline_service;
    grant all on copy.items to syncline_service;";

const WRITE: &str = "
    insert into copy.items as i (key, version, name, size)
    select * from unnest($1::text[], $2::bigint[], $3::text[], $4::int[])
    on conflict (key) do update set version = excluded.version, name = excluded.name,
        size = excluded.size, applied = i.applied + 1";

/// An item as the copy wants it.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) size: i32,
}

/// Writes items; size 12 marks a key that no database takes, 13 breaks a constraint, 14 panics, 15
/// never ends, 16 takes longer than a push may, below 0 is invalid.
#[derive(Debug, Clone, Default)]
pub(crate) struct Items {
    /// The states with which the database refuses before it works again.
    pub(crate) troubles: Arc<Mutex<VecDeque<&'static str>>>,
    pub(crate) is_hanging: Arc<AtomicBool>,
}

impl Projection for Items {
    const TOPIC: &'static str = TOPIC;
    type Entity = Item;

    async fn apply(&self, tx: &Transaction<'_>, changes: &[Change<Item>]) -> Result<(), Error> {
        let has = |size| changes.iter().any(|c| c.entity.as_ref().is_some_and(|i| i.size == size));
        if has(15) {
            self.is_hanging.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        if has(16) {
            tx.query_one("select pg_sleep(0.7)", &[]).await?;
        }
        let trouble = self.troubles.lock().unwrap().pop_front();
        if let Some(state) = trouble {
            let raise = format!("raise exception 'refused' using errcode = '{state}'");
            tx.batch_execute(&format!("do $$ begin {raise}; end $$")).await?;
        }
        let gone: Vec<_> =
            changes.iter().filter(|c| c.entity.is_none()).map(|c| c.key.as_str()).collect();
        tx.execute("delete from copy.items where key = any($1)", &[&gone]).await?;
        let kept = || changes.iter().filter_map(|c| Some((c, c.entity.as_ref()?)));
        let keys: Vec<_> = kept().map(|(change, _)| change.key.as_str()).collect();
        let versions: Vec<_> = kept().map(|(change, _)| change.version.get()).collect();
        let names: Vec<_> = kept().map(|(_, item)| item.name.as_str()).collect();
        let sizes: Vec<_> = kept().map(|(_, item)| item.size).collect();
        assert!(!sizes.contains(&14), "fourteen");
        tx.execute(WRITE, &[&keys, &versions, &names, &sizes]).await?;
        Ok(())
    }

    async fn dirty(
        &self,
        _: &Transaction<'_>,
        changes: &[Change<Item>],
    ) -> Result<Vec<Dirty>, Error> {
        let mark = |change: &Change<Item>| match &change.entity {
            Some(item) if item.size == 12 => change.marks("index", "\0"),
            _ => change.marks("index", change.key.as_str()),
        };
        Ok(changes.iter().map(mark).collect())
    }

    fn validate(&self, item: &Item) -> Result<(), String> {
        if item.size < 0 { Err(format!("size {} is below 0", item.size)) } else { Ok(()) }
    }
}

/// Connections with the rights of a service, and no more.
pub(crate) fn pool(url: &str, connections_max: usize) -> anyhow::Result<Pool> {
    let mut connection: tokio_postgres::Config = url.parse()?;
    connection.options("-c role=syncline_service");
    let manager = Manager::new(connection, NoTls);
    Ok(Pool::builder(manager).max_size(connections_max).build()?)
}

/// Everything that a test needs; dropped with it.
pub(crate) struct World {
    database: Database,
    pub(crate) pool: Pool,
    pub(crate) hub: Memory,
    pub(crate) origin: Origin,
    pub(crate) url: String,
    pub(crate) projection: Items,
    tasks: JoinSet<()>,
}

/// One run of the consumer.
pub(crate) struct Run {
    pub(crate) config: Config,
    task: AbortHandle,
}

impl Run {
    /// Ends it as a kill would: nothing is cleaned up.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }

    /// Ends it in order.
    pub(crate) async fn stop(&self) {
        self.config.stop.cancel();
        eventually("the consumer has stopped", async || Ok(self.task.is_finished())).await;
    }
}

impl World {
    /// A migrated database and a source without changes.
    pub(crate) async fn new(label: &str) -> anyhow::Result<Self> {
        let database = Database::create(label).await?;
        database.migrate("inbox", inbox::MIGRATIONS).await?;
        database.connect().await?.batch_execute(COPY).await?;
        let mut tasks = JoinSet::new();
        let origin = Origin::new();
        let url = origin.serve(&mut tasks).await;
        let pool = pool(&database.url(), 8)?;
        let (hub, projection) = (Memory::new(), Items::default());
        Ok(Self { database, pool, hub, origin, url, projection, tasks })
    }

    /// The same, followed by a consumer that serves.
    pub(crate) async fn serving(label: &str) -> anyhow::Result<(Self, Run)> {
        let mut world = Self::new(label).await?;
        let run = world.follow();
        world.ready(&run).await;
        Ok((world, run))
    }

    /// Connections of another process.
    pub(crate) fn own_pool(&self, connections_max: usize) -> anyhow::Result<Pool> {
        pool(&self.database.url(), connections_max)
    }

    /// Ends every connection, as a database does that restarts.
    pub(crate) async fn disconnect(&self) -> anyhow::Result<()> {
        let all = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where datname = current_database() and pid <> pg_backend_pid()";
        Ok(self.owner().await?.batch_execute(all).await?)
    }

    pub(crate) fn database_url(&self) -> String {
        self.database.url()
    }

    /// A connection with all rights.
    pub(crate) async fn owner(&self) -> anyhow::Result<tokio_postgres::Client> {
        self.database.connect().await
    }

    pub(crate) fn config(&self) -> Config {
        let source = Source::parse("shop").unwrap();
        Config {
            consumer: Some("test".to_owned()),
            relay_urls: vec![Road::new(&source, &self.url)],
            sync_interval_ms: 50,
            ..Config::default()
        }
    }

    pub(crate) fn follow(&mut self) -> Run {
        self.follow_with(self.config(), Bus::memory(&self.hub))
    }

    pub(crate) fn follow_with(&mut self, config: Config, bus: Bus) -> Run {
        let running = inbox::run(config.clone(), self.pool.clone(), bus, self.projection.clone());
        let task = self.tasks.spawn(async move { running.await.unwrap() });
        Run { config, task }
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn(task)
    }

    pub(crate) async fn ready(&self, run: &Run) {
        eventually("the copy serves", async || Ok(run.config.monitor.ready())).await;
    }

    /// Publishes numbers of the normal lane in one envelope.
    pub(crate) async fn push(&self, first: usize, last: usize) {
        self.publish(self.origin.envelope(first, last)).await;
    }

    pub(crate) async fn publish(&self, envelope: Bytes) {
        let bus = Bus::memory(&self.hub);
        bus.publish(&stream(Lane::Normal), Lane::Normal, envelope).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        Ok(self.pool.get().await?.query_one(sql, &[]).await?.try_get(0)?)
    }

    pub(crate) async fn text(&self, sql: &str) -> anyhow::Result<Option<String>> {
        let row = self.pool.get().await?.query_opt(sql, &[]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
    }

    /// Waits until the query answers this number.
    pub(crate) async fn until(&self, expected: i64, sql: &str) {
        eventually(
            &format!("{sql} = {expected}"),
            async || Ok(self.number(sql).await? == expected),
        )
        .await;
    }

    /// Waits until every number of the normal lane has its outcome.
    pub(crate) async fn at_head(&self) {
        let sql = "select coalesce(min(pn), -1) from inbox.position \
                   where stream = 'shop.items.normal'";
        self.until(self.origin.head().get(), sql).await;
    }

    /// Recomputes the books from journal and cases, whatever the counters say.
    pub(crate) async fn balanced(&self) -> anyhow::Result<()> {
        balanced(&self.pool).await
    }

    /// What the copy holds: key and version.
    pub(crate) async fn copied(&self) -> anyhow::Result<Vec<(String, i64)>> {
        let sql = "select key, version from copy.items order by key collate \"C\"";
        let rows = self.pool.get().await?.query(sql, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}

/// Recomputes the books of a consumer from journal and cases, whatever its counters say.
pub(crate) async fn balanced(pool: &Pool) -> anyhow::Result<()> {
    let row = pool
        .get()
        .await?
        .query_one(
            "select count(*) as streams, count(*) filter (where pn - start = numbers
                    and pn - start = j_applied + j_stale + j_cases
                    and applied = j_applied and stale = j_stale
                    and open_cases = open and superseded = overtaken) as balanced
             from inbox.position join inbox.topic using (topic)
             left join lateral (
                 select coalesce(sum(last - first + 1), 0) as numbers,
                     coalesce(sum(j.applied), 0) as j_applied,
                     coalesce(sum(cardinality(j.stale)), 0) as j_stale,
                     coalesce(sum(cardinality(cases)), 0) as j_cases
                 from inbox.journal as j
                 where j.stream = position.stream and j.rebuild = topic.rebuild
             ) as j on true
             left join lateral (
                 select count(*) filter (where state = 'open') as open,
                     count(*) filter (where state = 'superseded') as overtaken
                 from inbox.cases as c
                 where c.stream = position.stream and c.rebuild = topic.rebuild
                     and c.pn is not null
             ) as c on true",
            &[],
        )
        .await?;
    let (streams, balanced): (i64, i64) = (row.try_get("streams")?, row.try_get("balanced")?);
    anyhow::ensure!(streams == balanced, "{balanced} of {streams} streams balance");
    Ok(())
}
