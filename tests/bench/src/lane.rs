//! Syncline as it is measured: the real relay and one consumer, with or without sidecars, between
//! two databases of the lane's own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use contracts::{Lane as Priority, Stream, Topic};
use secrecy::ExposeSecret as _;
use service_kit::Program as _;
use testkit::{Database, quiet_ports};
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::consumer::{Consumer, SEAT};
use crate::figures::Lane;
use crate::place::Place;
use crate::process::{Process, command};
use crate::sidecar::{API_TOKEN, APP_TOKEN, Sidecar};

/// How long parts may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// The databases of a lane, which last from round to round, and what was written to them.
#[derive(Debug)]
pub struct Syncline {
    /// How changes travel.
    pub lane: Lane,
    /// Catalog's database.
    pub source: Database,
    /// The consumer's database.
    pub copy: Database,
    /// The number of the next change.
    pub next: u64,
    /// Products that there are.
    pub keys: u32,
    place: Place,
    folder: PathBuf,
}

/// A service that runs, with the sidecar beside it.
#[derive(Debug)]
pub struct Part {
    /// Its process.
    pub process: Process,
    /// Its sidecar, where changes go through one.
    pub sidecar: Option<Sidecar>,
    /// Its port.
    pub port: u16,
}

/// The parts of a lane while it runs.
#[derive(Debug)]
pub struct Running {
    /// Seals and publishes.
    pub relay: Part,
    /// Keeps the copy; none while it is away.
    pub consumer: Option<Part>,
}

impl Syncline {
    /// Makes both databases, empty.
    pub async fn create(place: &Place, lane: Lane) -> anyhow::Result<Self> {
        let (source, copy) = (Database::create("bench-source").await?, Self::fresh_copy().await?);
        catalog::Catalog::migrate(&mut source.connect().await?).await.map_err(boxed)?;
        let folder = place.folder.join(format!("{lane:?}").to_lowercase());
        std::fs::create_dir_all(&folder)?;
        Ok(Self { lane, source, copy, next: 1, keys: 0, place: place.clone(), folder })
    }

    /// Both databases.
    pub const fn databases(&self) -> (&Database, &Database) {
        (&self.source, &self.copy)
    }

    /// Where it takes place.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Where its logs lie.
    pub const fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// The stream that is measured.
    ///
    /// # Panics
    /// Never: the topic is a constant.
    pub fn stream() -> Stream {
        let topic = Topic::parse("catalog.products").expect("a topic");
        Stream::new(&topic, Priority::Normal)
    }

    /// Starts relay and consumer on an empty broker, and waits until both are ready.
    pub async fn start(&self) -> anyhow::Result<Running> {
        self.place.flush().await?;
        let relay = self.relay().await?;
        let consumer = Some(self.consumer(&relay).await?);
        Ok(Running { relay, consumer })
    }

    /// Starts the relay alone.
    pub async fn relay(&self) -> anyhow::Result<Part> {
        self.relay_of(&[]).await
    }

    /// Starts the relay of some more sources beside this one.
    pub async fn relay_of(&self, others: &[(String, Database)]) -> anyhow::Result<Part> {
        let [port] = quiet_ports()?;
        self.relay_at(others, port).await
    }

    /// Starts the relay on a port where consumers expect it.
    pub async fn relay_at(&self, others: &[(String, Database)], port: u16) -> anyhow::Result<Part> {
        let mut command = command(&self.place.program("relay")?);
        let others = others.iter().map(|(name, database)| format!(",{name}={}", database.url()));
        let sources = format!("catalog={}{}", self.source.url(), others.collect::<String>());
        command.env("SOURCES", sources);
        self.part(("relay", "relay", port), command).await
    }

    /// Starts the consumer beside a relay.
    pub async fn consumer(&self, relay: &Part) -> anyhow::Result<Part> {
        self.consumer_of(relay, &self.copy, SEAT).await
    }

    /// Starts a consumer of this name with a copy of its own.
    pub async fn consumer_of(
        &self,
        relay: &Part,
        copy: &Database,
        name: &str,
    ) -> anyhow::Result<Part> {
        let mut command = command(&self.place.program("bench-consumer")?);
        command
            .env("DATABASE_URL", copy.url())
            .env("CACHE_URL", self.place.cache_url.expose_secret())
            .env("CONSUMER", name);
        self.service("consumer", SEAT, command, relay).await
    }

    /// An empty database for a copy.
    pub async fn fresh_copy() -> anyhow::Result<Database> {
        let copy = Database::create("bench-copy").await?;
        Consumer::migrate(&mut copy.connect().await?).await.map_err(boxed)?;
        Ok(copy)
    }

    /// Starts any service that follows a relay.
    pub async fn service(
        &self,
        name: &str,
        app_id: &str,
        mut command: Command,
        relay: &Part,
    ) -> anyhow::Result<Part> {
        if self.lane == Lane::Direct {
            for source in ["CATALOG", "PRICING", "WAREHOUSE"] {
                let url = format!("http://127.0.0.1:{}", relay.port);
                command.env(format!("RELAY_URL_{source}"), url);
            }
        }
        let [port] = quiet_ports()?;
        self.part((name, app_id, port), command).await
    }

    async fn part(
        &self,
        (name, app_id, port): (&str, &str, u16),
        mut command: Command,
    ) -> anyhow::Result<Part> {
        let mut sidecar = match self.lane {
            Lane::Dapr => {
                let components = &self.place.components;
                let resources = [components.clone(), components.join("subscriptions")];
                let named = format!("{name}-daprd");
                Some(Sidecar::start(&self.place, (&named, app_id, port), &resources, &self.folder)?)
            }
            Lane::Direct | Lane::PlainDapr => None,
        };
        command
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .env("LOG_FORMAT", "text")
            .env("LOG_FILTER", "warn")
            .env("NO_COLOR", "1")
            .env("APP_API_TOKEN", APP_TOKEN);
        match &sidecar {
            Some(sidecar) => command
                .env("TRANSPORT", "dapr")
                .env("DAPR_HTTP_PORT", sidecar.http.to_string())
                .env("DAPR_GRPC_PORT", sidecar.grpc.to_string())
                .env("DAPR_API_TOKEN", API_TOKEN),
            None => command
                .env("TRANSPORT", "redis")
                .env("REDIS_URL", self.place.redis_url.expose_secret()),
        };
        let mut process = Process::start(name, command, &self.folder)?;
        if let Some(sidecar) = &mut sidecar {
            sidecar.ready().await?;
        }
        ready(&mut process, port).await?;
        Ok(Part { process, sidecar, port })
    }

    /// Has both databases as a while of running leaves them: what an import left to the vacuum
    /// would otherwise be done during whatever comes next.
    pub async fn settle(&self) -> anyhow::Result<()> {
        for database in [&self.source, &self.copy] {
            database.connect().await?.batch_execute("vacuum (analyze)").await?;
        }
        Ok(())
    }

    /// The newest number of the stream that is measured.
    pub async fn head(&self) -> anyhow::Result<i64> {
        let rows = self.source.connect().await?.query(HEAD, &[&Self::stream().as_str()]).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.try_get("head"))?)
    }

    /// The number that the copy has reached.
    pub async fn position(&self) -> anyhow::Result<i64> {
        let rows = self.copy.connect().await?.query(POSITION, &[&Self::stream().as_str()]).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.try_get("pn"))?)
    }

    /// Waits until everything committed at the source is applied; answers how long that took.
    pub async fn drain(&self, limit: Duration) -> anyhow::Result<Duration> {
        self.drain_to(&self.copy, limit).await
    }

    /// The same for any copy.
    pub async fn drain_to(&self, copy: &Database, limit: Duration) -> anyhow::Result<Duration> {
        let (source, copy) = (self.source.connect().await?, copy.connect().await?);
        let (stream, start) = (Self::stream(), Instant::now());
        loop {
            let unsealed = is_unsealed(&source).await?;
            let head = source.query_opt(HEAD, &[&stream.as_str()]).await?;
            let head: i64 = head.map_or(Ok(0), |row| row.try_get("head"))?;
            let position = copy.query_opt(POSITION, &[&stream.as_str()]).await?;
            let position: i64 = position.map_or(Ok(0), |row| row.try_get("pn"))?;
            if !unsealed && position >= head {
                return Ok(start.elapsed());
            }
            anyhow::ensure!(
                start.elapsed() < limit,
                "{} changes are not applied after {limit:?}",
                head - position
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

const HEAD: &str = include_str!("../queries/head.sql");
const POSITION: &str = include_str!("../queries/position.sql");
const SEEN: &str = include_str!("../queries/seen.sql");
const UNSEALED: &str = include_str!("../queries/unsealed.sql");

impl Running {
    /// Ends all parts in order.
    pub async fn stop(self) -> anyhow::Result<()> {
        if let Some(consumer) = self.consumer {
            consumer.stop().await?;
        }
        self.relay.stop().await
    }

    /// An error if a part has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.relay.check()?;
        self.consumer.iter_mut().try_for_each(Part::check)
    }

    /// The processes by the names under which their costs are reported.
    pub fn pids(&self) -> Vec<(&'static str, u32)> {
        let mut pids = Vec::new();
        let parts = [
            ("relay", "relay-daprd", Some(&self.relay)),
            ("consumer", "consumer-daprd", self.consumer.as_ref()),
        ];
        for (name, beside, part) in parts {
            let Some(part) = part else { continue };
            pids.extend(part.process.pid().map(|pid| (name, pid)));
            let sidecar = part.sidecar.as_ref().and_then(|sidecar| sidecar.process.pid());
            pids.extend(sidecar.map(|pid| (beside, pid)));
        }
        pids
    }
}

impl Part {
    /// Ends it and then its sidecar.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await?;
        match self.sidecar {
            Some(sidecar) => sidecar.process.stop().await,
            None => Ok(()),
        }
    }

    /// Kills it, and its sidecar too.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().await?;
        match &mut self.sidecar {
            Some(sidecar) => sidecar.process.kill().await,
            None => Ok(()),
        }
    }

    /// An error if it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.process.check()?;
        self.sidecar.iter_mut().try_for_each(|sidecar| sidecar.process.check())
    }
}

/// Whether a change is committed that no tick has seen. The tick's snapshot goes in as parameters,
/// or this would read all changes and cost more than what is measured.
async fn is_unsealed(source: &Client) -> anyhow::Result<bool> {
    let seen = source.query_one(SEEN, &[]).await?;
    let (xmax, running): (&str, Vec<String>) = (seen.try_get("xmax")?, seen.try_get("running")?);
    let row = source.query_one(UNSEALED, &[&xmax, &running]).await?;
    Ok(row.try_get("unsealed")?)
}

/// Waits until a service says that it is ready.
async fn ready(process: &mut Process, port: u16) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
    let (url, start) = (format!("http://127.0.0.1:{port}/readyz"), Instant::now());
    loop {
        process.check()?;
        let answer = client.get(&url).send().await;
        if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if start.elapsed() > READY_LIMIT {
            let told = match answer {
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            return Err(anyhow::anyhow!(told)).context("a part is not ready");
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn boxed(error: service_kit::BoxError) -> anyhow::Error {
    anyhow::anyhow!(error)
}
