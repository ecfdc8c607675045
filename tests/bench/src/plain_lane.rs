//! The plain Dapr app as a lane: its producer and consumer with a sidecar each, and its loads.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use testkit::quiet_ports;
use tokio::time::{Instant, sleep};

use crate::clock::Moment;
use crate::figures::Figures;
use crate::measure::{Arrived, Fate, judge};
use crate::meter::Meter;
use crate::ops::Outcome;
use crate::place::Place;
use crate::plain::{self, Setup};
use crate::process::{Process, command};
use crate::scenario::{Load, Writer};
use crate::sidecar::{APP_TOKEN, Sidecar};

/// How long the consumer may go without taking anything before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(20);
/// After so long without anything the writes of a warm-up have all arrived.
const WARM_SILENCE: Duration = Duration::from_secs(2);
const READY_LIMIT: Duration = Duration::from_secs(30);

/// The plain app while it runs.
#[derive(Debug)]
pub struct Plain {
    place: Place,
    folder: PathBuf,
    setup: Setup,
    producer: Sidecar,
    consumer: Process,
    beside: Sidecar,
    port: u16,
    products: u32,
    next: u64,
}

impl Plain {
    /// Makes its databases and starts its parts on an empty broker.
    pub async fn start(place: &Place, products: u32) -> anyhow::Result<Self> {
        place.flush().await?;
        let folder = place.folder.join("plain");
        std::fs::create_dir_all(&folder)?;
        let setup = Setup::create(&folder.join("components"), products).await?;
        let resources = [setup.resources.clone()];
        let [port, unused] = quiet_ports()?;
        let named = ("producer-daprd", plain::PRODUCER, unused);
        let mut producer = Sidecar::start(place, named, &resources, &folder)?;
        let mut started = command(&std::env::current_exe()?);
        started
            .arg("plain-consumer")
            .env("PLAIN_PORT", port.to_string())
            .env("PLAIN_DATABASE_URL", setup.copy.url())
            .env("PLAIN_CACHE_URL", place.cache_url.expose_secret())
            .env("APP_API_TOKEN", APP_TOKEN);
        let mut consumer = Process::start("plain-consumer", started, &folder)?;
        let named = ("consumer-daprd", plain::CONSUMER, port);
        let mut beside = Sidecar::start(place, named, &resources, &folder)?;
        producer.ready().await?;
        beside.ready().await?;
        let start = Instant::now();
        while counts(port).await.is_err() {
            consumer.check()?;
            anyhow::ensure!(start.elapsed() < READY_LIMIT, "the plain consumer is not ready");
            sleep(Duration::from_millis(20)).await;
        }
        let (place, next) = (place.clone(), 1);
        Ok(Self { place, folder, setup, producer, consumer, beside, port, products, next })
    }

    /// Runs a load and measures it, as [`crate::scenario::load`] does with Syncline.
    pub async fn load(&mut self, load: &Load) -> anyhow::Result<Figures> {
        let to = self.setup.source.url();
        let (numbers, port) = ((self.products, self.next), self.producer.grpc);
        let writer = Writer::start(load, (&to, Some(port)), numbers, &self.folder).await?;
        self.arrivals(usize::MAX, WARM_SILENCE).await?;
        let pids = [
            ("consumer", self.consumer.pid()),
            ("consumer-daprd", self.beside.process.pid()),
            ("relay-daprd", self.producer.process.pid()),
        ];
        let pids = pids.into_iter().filter_map(|(name, pid)| Some((name, pid?))).collect();
        let databases = (&self.setup.source, &self.setup.copy);
        let before = counts(self.port).await?;
        let meter = Meter::start(&self.place, databases, pids).await?;
        self.next = writer.next;
        let written = writer.go().await?;
        self.next += written.count();
        let made = |outcome| matches!(outcome, Outcome::Put | Outcome::Deleted);
        let wanted = written.ops.iter().filter(|op| made(op.outcome)).count();
        let arrivals = self.arrivals(wanted, SILENCE).await?;
        let after = counts(self.port).await?;
        let mut figures = judge(&written.ops, |op| match (op.outcome, arrivals.get(&op.seq)) {
            (Outcome::Refused, _) | (Outcome::Failed, None) => Fate::NoChange,
            (_, Some(arrived)) => Fate::Arrived(*arrived),
            (Outcome::Put | Outcome::Deleted, None) => Fate::Lost,
        })?;
        figures.offered = load.rate;
        meter.stop().await?.add(&mut figures);
        written.costs(load.seconds.1, &mut figures);
        figures.duplicates = after.duplicates - before.duplicates;
        // Only the guard in its statement kept the copy from going back.
        figures.out_of_order = after.overtaken - before.overtaken;
        Ok(figures)
    }

    /// Ends all parts.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.beside.process.stop().await?;
        self.producer.process.stop().await?;
        self.consumer.kill().await
    }

    /// Waits until as many have arrived, or nothing more comes.
    async fn arrivals(
        &mut self,
        wanted: usize,
        silence: Duration,
    ) -> anyhow::Result<HashMap<u64, Arrived>> {
        let mut arrivals = HashMap::new();
        let mut heard = Instant::now();
        while arrivals.len() < wanted && heard.elapsed() < silence {
            self.consumer.check()?;
            let url = format!("http://127.0.0.1:{}/bench/applied", self.port);
            let text = reqwest::get(url).await?.error_for_status()?.text().await?;
            if !text.is_empty() {
                heard = Instant::now();
            }
            for line in text.lines() {
                let (seq, arrived) = arrival(line).with_context(|| format!("reading {line:?}"))?;
                arrivals.insert(seq, arrived);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(arrivals)
    }
}

fn arrival(line: &str) -> Option<(u64, Arrived)> {
    let mut numbers = line.split(' ').map(|word| word.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    let (seq, applied, clean) = (next()?, Moment(next()?), Moment(next()?));
    Some((seq, Arrived { sealed: None, applied, clean: Some(clean) }))
}

async fn counts(port: u16) -> anyhow::Result<plain::Counts> {
    let url = format!("http://127.0.0.1:{port}/bench/counts");
    Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
}
