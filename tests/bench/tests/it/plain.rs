//! The plain app: what its producer saves arrives through real sidecars, once, and no older.

use std::collections::BTreeMap;
use std::path::Path;
use std::slice::from_ref;
use std::time::Duration;

use bench::place::Place;
use bench::plain::{CONSUMER, ConsumerSettings, Counts, PRODUCER, Producer, Setup};
use bench::sidecar::{API_TOKEN, APP_TOKEN, Sidecar};
use bench::workload::{Kind, body, sku};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use secrecy::SecretString;
use testkit::{Database, RedisServer, Servers, eventually, quiet_ports, within};
use tokio::task::JoinSet;

const CHANGES: u64 = 200;
const PRODUCTS: u32 = 20;
const ALL_TO_ARRIVE: Duration = Duration::from_secs(60);

/// A consumer in this process, over a database and a cache of its own.
struct Copy {
    port: u16,
    http: reqwest::Client,
    cache: redis::aio::MultiplexedConnection,
    setup: Setup,
    _cache: RedisServer,
    _consumer: JoinSet<anyhow::Result<()>>,
}

impl Copy {
    async fn start(resources: &Path) -> anyhow::Result<Self> {
        let setup = Setup::create(resources, PRODUCTS).await?;
        let cache = RedisServer::cache().await?;
        let [port] = quiet_ports()?;
        let mut consumer = JoinSet::new();
        consumer.spawn(bench::plain::consumer(ConsumerSettings {
            port,
            database_url: SecretString::from(setup.copy.url()),
            cache_url: SecretString::from(cache.url()),
            app_token: SecretString::from(APP_TOKEN),
        }));
        let client = redis::Client::open(cache.url())?;
        let connection = client.get_multiplexed_async_connection().await?;
        let http = reqwest::Client::new();
        let (_consumer, _cache) = (consumer, cache);
        let copy = Self { port, http, cache: connection, setup, _cache, _consumer };
        eventually("the consumer answers", || async { Ok(copy.counts().await.is_ok()) }).await;
        Ok(copy)
    }

    async fn counts(&self) -> anyhow::Result<Counts> {
        let url = format!("http://127.0.0.1:{}/bench/counts", self.port);
        Ok(self.http.get(url).send().await?.json().await?)
    }

    /// Every line since the last call: the number, and the moments of both steps.
    async fn applied(&self) -> anyhow::Result<Vec<[u64; 3]>> {
        let url = format!("http://127.0.0.1:{}/bench/applied", self.port);
        let text = self.http.get(url).send().await?.text().await?;
        let line = |line: &str| {
            let words = line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
            words.try_into().map_err(|words| anyhow::anyhow!("three numbers, not {words:?}"))
        };
        text.lines().map(line).collect()
    }

    /// Hands a message over as a sidecar does, and answers status and body.
    async fn deliver(&self, token: &str, message: &str) -> anyhow::Result<(u16, String)> {
        let url = format!("http://127.0.0.1:{}/events/products", self.port);
        let request = self.http.post(url).header("dapr-api-token", token);
        let answer = request.body(message.to_owned()).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    async fn fill_cache(&mut self) -> anyhow::Result<()> {
        for key in 0..PRODUCTS {
            let entry = bench::plain::cache_key(&sku(key));
            redis::cmd("SET").arg(entry).arg("old").exec_async(&mut self.cache).await?;
        }
        Ok(())
    }

    async fn entries(&mut self) -> anyhow::Result<u64> {
        Ok(redis::cmd("DBSIZE").query_async(&mut self.cache).await?)
    }
}

/// Version, and name unless deleted, of every product of one side.
async fn products(
    database: &Database,
    schema: &str,
) -> anyhow::Result<BTreeMap<String, (i64, Option<String>)>> {
    let query = format!(
        "select sku, version, case when not deleted then name end as name from {schema}.product"
    );
    let rows = database.connect().await?.query(&query, &[]).await?;
    Ok(rows.iter().map(|row| (row.get("sku"), (row.get("version"), row.get("name")))).collect())
}

#[tokio::test]
async fn changes_pass_two_sidecars_and_are_applied_once() -> anyhow::Result<()> {
    let servers = Servers::from_env()?;
    let (streams, folder) = (RedisServer::streams().await?, tempfile::tempdir()?);
    let resources = folder.path().join("components");
    let mut copy = Copy::start(&resources).await?;
    let place = Place {
        database_url: SecretString::from(servers.database_url),
        redis_url: SecretString::from(streams.url()),
        cache_url: SecretString::from(""),
        daprd: servers.daprd.expect("`cargo x test` names a sidecar in DAPRD").into(),
        components: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../components"),
        folder: folder.path().to_owned(),
    };
    let start = |name, app_id, port| {
        Sidecar::start(&place, (name, app_id, port), from_ref(&resources), folder.path())
    };
    let mut beside_consumer = start("consumer-daprd", CONSUMER, copy.port)?;
    let mut beside_producer = start("producer-daprd", PRODUCER, 0)?;
    beside_consumer.ready().await?;
    beside_producer.ready().await?;

    copy.fill_cache().await?;
    let source = copy.setup.source.url();
    let producer = &Producer::connect(&source, beside_producer.grpc, API_TOKEN)?;
    producer.warm().await?;
    // The first half one by one with deletions among them, sixteen at a time; the rest at once.
    stream::iter(0..CHANGES / 2)
        .map(|seq| async move {
            let key = u32::try_from(seq)? % PRODUCTS;
            let deleted = seq % 10 == 3 && producer.delete(seq, key).await?.is_some();
            if !deleted {
                producer.put(seq, key, body(key, seq, Kind::Put).as_bytes()).await?;
            }
            anyhow::Ok(())
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;
    for first in (CHANGES / 2..CHANGES).step_by(usize::try_from(PRODUCTS)?) {
        let puts = (first..).zip(0..PRODUCTS);
        let puts = puts.map(|(seq, key)| (key, body(key, seq, Kind::Put).into_bytes()));
        producer.put_many(first, &puts.collect::<Vec<_>>()).await?;
    }

    within(ALL_TO_ARRIVE, "every change is applied", || async {
        Ok(copy.counts().await?.applied == CHANGES)
    })
    .await;
    let mut lines = copy.applied().await?;
    lines.sort_unstable();
    assert!(lines.iter().map(|[seq, ..]| *seq).eq(0..CHANGES), "{lines:?}");
    assert!(lines.iter().all(|[_, applied, clean]| applied <= clean), "{lines:?}");
    assert_eq!(copy.applied().await?.len(), 0);
    let counts = copy.counts().await?;
    let Counts { overtaken, .. } = counts;
    assert_eq!(counts, Counts { applied: CHANGES, overtaken, ..Counts::default() });
    let (at_source, at_copy) = (
        products(&copy.setup.source, "plain_source").await?,
        products(&copy.setup.copy, "plain_copy").await?,
    );
    assert_eq!(at_source, at_copy);
    assert_eq!(copy.entries().await?, 0);
    Ok(())
}

#[tokio::test]
async fn the_copy_takes_no_older_version_and_says_so() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let copy = Copy::start(folder.path()).await?;
    let message = |seq: u64, version: i64, kind: Option<Kind>| {
        let product = kind.map_or("null".to_owned(), |kind| body(7, seq, kind));
        let sku = sku(7);
        format!(
            r#"{{"specversion":"1.0","id":"{seq}","data":{{"seq":{seq},"sku":"{sku}",
                "version":{version},"product":{product}}}}}"#
        )
    };
    let (done, drop) = ((200, String::new()), (200, r#"{"status":"DROP"}"#.to_owned()));
    let newest = message(1, 4, None);
    assert_eq!(copy.deliver("somebody else's", &newest).await?.0, 401);
    assert_eq!(copy.deliver(APP_TOKEN, &newest).await?, done);
    assert_eq!(copy.deliver(APP_TOKEN, &message(2, 3, Some(Kind::Put))).await?, done);
    assert_eq!(copy.deliver(APP_TOKEN, &newest).await?, done);
    assert_eq!(copy.deliver(APP_TOKEN, &message(3, 5, Some(Kind::Invalid))).await?, drop);
    assert_eq!(copy.deliver(APP_TOKEN, "{}").await?, drop);
    let known = products(&copy.setup.copy, "plain_copy").await?;
    assert_eq!(known.get(&sku(7)), Some(&(4, None)));
    assert_eq!(known.len(), usize::try_from(PRODUCTS)?);
    let counts =
        Counts { applied: 2, duplicates: 1, overtaken: 1, refused: 1, unreadable: 1, failed: 0 };
    assert_eq!(copy.counts().await?, counts);
    Ok(())
}

#[tokio::test]
async fn a_change_that_was_not_taken_is_asked_for_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let copy = Copy::start(folder.path()).await?;
    let sku = sku(1);
    let message = format!(r#"{{"data":{{"seq":1,"sku":"{sku}","version":2,"product":null}}}}"#);
    let admin = copy.setup.copy.connect().await?;
    admin.batch_execute("alter table plain_copy.product rename to away").await?;
    assert_eq!(copy.deliver(APP_TOKEN, &message).await?.0, 500);
    admin.batch_execute("alter table plain_copy.away rename to product").await?;
    assert_eq!(copy.deliver(APP_TOKEN, &message).await?.0, 200);
    let counts = Counts { applied: 1, failed: 1, ..Counts::default() };
    assert_eq!(copy.counts().await?, counts);
    Ok(())
}

#[tokio::test]
async fn a_write_that_expects_another_version_does_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let setup = Setup::create(folder.path(), PRODUCTS).await?;
    // Nobody listens at this port: a publish would fail.
    let producer = Producer::connect(&setup.source.url(), 1, API_TOKEN)?;
    let before = products(&setup.source, "plain_source").await?;
    let payload = body(3, 1, Kind::Stale);
    assert_eq!(producer.replace(1, 3, payload.as_bytes(), 9).await?, None);
    assert_eq!(producer.delete(2, PRODUCTS).await?, None);
    assert_eq!(products(&setup.source, "plain_source").await?, before);
    assert!(producer.replace(1, 3, payload.as_bytes(), 1).await.is_err());
    let after = products(&setup.source, "plain_source").await?;
    assert_eq!(after.get(&sku(3)).map(|(version, _)| *version), Some(2));
    Ok(())
}
