//! Everything that follows one topic: the handler of pushes, a reader per stream, sync, rebuild.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Transport};
use contracts::{Stream, Topic};
use deadpool_postgres::{Client, Pool};
use protocol::reader::Pushes;
use protocol::retry::Backoff;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::careful::Careful;
use crate::error::chain;
use crate::intake::{Intake, Intakes};
use crate::journal::Via;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::receive::Receiver;
use crate::source::Relay;
use crate::store::{copy, watch};
use crate::{Config, Error, Monitor, Projection, fresh, prune, reader, rebuild, sync};

/// What every loop waits by after failures, up to the longest time between two calls.
pub(crate) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
/// How long the loops have to end their turns when the process stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Follows `P::TOPIC` until `config.stop` is cancelled: hands pushes of the bus and answers of the
/// source's feed to the projection, each change once, and loads the copy anew where it must.
///
/// Several topics are followed by calling it for each, with the same configuration.
pub async fn run<P: Projection>(
    config: Config,
    pool: Pool,
    bus: Bus,
    projection: P,
) -> Result<(), Error> {
    let Some(follower) = Follower::open(config, pool, &bus, projection).await? else {
        return Ok(());
    };
    let follower = Arc::new(follower);
    bus.subscribe(&follower.topic, Arc::new(Receiver(Arc::clone(&follower))));
    let outcome = follower.follow().await;
    if outcome.is_ok() {
        follower.pipeline.careful.end(&follower.pipeline.pool).await?;
    }
    outcome
}

/// One topic, followed.
pub(crate) struct Follower<P> {
    pub(crate) config: Config,
    pub(crate) topic: Topic,
    pub(crate) consumer: String,
    pub(crate) identity: Uuid,
    pub(crate) relay: Relay,
    pub(crate) pushes: Pushes,
    pub(crate) pipeline: Pipeline<P>,
    pub(crate) intakes: Intakes,
    /// Wakes the loop that calls sync.
    pub(crate) sync: Notify,
    /// Wakes the loop that loads pages.
    pub(crate) load: Notify,
}

impl<P: Projection> Follower<P> {
    /// Waits for the database; none when stopped before.
    async fn open(
        config: Config,
        pool: Pool,
        bus: &Bus,
        projection: P,
    ) -> Result<Option<Self>, Error> {
        let topic = Topic::parse(P::TOPIC)?;
        let consumer = config.consumer()?.to_owned();
        let relay = Relay::of(&topic.source(), &config, bus)?;
        config.monitor.enter(&consumer, &topic);
        let intakes = Intakes::default();
        let Some((identity, careful)) = begin(&pool, &topic, &intakes, &config.stop).await? else {
            return Ok(None);
        };
        let pipeline = Pipeline {
            topic: topic.clone(),
            pool,
            projection,
            careful,
            monitor: config.monitor.clone(),
            metrics: Metrics::new(&topic),
        };
        Ok(Some(Self {
            relay,
            pushes: match bus.transport() {
                Transport::None => Pushes::Never,
                Transport::Dapr | Transport::Redis | Transport::Memory => Pushes::Expected,
            },
            config,
            topic,
            consumer,
            identity,
            pipeline,
            intakes,
            sync: Notify::new(),
            load: Notify::new(),
        }))
    }

    /// Runs all loops; the first that ends ends the others.
    async fn follow(self: &Arc<Self>) -> Result<(), Error> {
        let stop = self.stop().child_token();
        let mut loops = JoinSet::new();
        loops.spawn(sync::run(Arc::clone(self), stop.clone()));
        loops.spawn(rebuild::run(Arc::clone(self), stop.clone()));
        loops.spawn(reader::run(Arc::clone(self), stop.clone()));
        loops.spawn(fresh::run(Arc::clone(self), stop.clone()));
        loops.spawn(prune::run(Arc::clone(self), stop.clone()));
        let first = loops.join_next().await;
        stop.cancel();
        let rest = timeout(STOP_TIMEOUT, async { while loops.join_next().await.is_some() {} });
        if rest.await.is_err() {
            tracing::warn!(topic = %self.topic, "a turn did not end in time and is given up");
        }
        let died = |source| Error::Task { topic: self.topic.clone(), source };
        first.map_or(Ok(()), |ended| ended.map_err(died)?)
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.config.stop
    }

    pub(crate) fn monitor(&self) -> &Monitor {
        &self.config.monitor
    }

    pub(crate) async fn client(&self) -> Result<Client, Error> {
        Ok(self.pipeline.pool.get().await?)
    }

    /// Keeps bytes that are no envelope, and says so once more each time.
    pub(crate) async fn keep_unreadable(
        &self,
        intake: &Intake,
        via: Via,
        body: &[u8],
        reason: &str,
    ) -> Result<(), Error> {
        intake.unreadable();
        self.pipeline.metrics.delivery("unreadable", 1);
        let client = self.client().await?;
        watch::keep_unreadable(&client, &intake.stream, via, body, reason).await
    }

    /// An envelope's claim about itself that only its receiver can check.
    pub(crate) fn misplaced(
        &self,
        stream: &Stream,
        header: &contracts::Header,
    ) -> Result<(), String> {
        if header.stream != *stream {
            return Err(format!("it says that its stream is {}", header.stream));
        }
        if header.source != self.topic.source() {
            return Err(format!("it says that its source is {}", header.source));
        }
        Ok(())
    }
}

/// Enters the topic, however long its database is away; none when stopped before. What another try
/// cannot mend, a missing table for example, ends it.
async fn begin(
    pool: &Pool,
    topic: &Topic,
    intakes: &Intakes,
    stop: &CancellationToken,
) -> Result<Option<(Uuid, Careful)>, Error> {
    let mut failures = 0;
    while !stop.is_cancelled() {
        match enter(pool, topic, intakes).await {
            Ok(entered) => return Ok(Some(entered)),
            Err(error @ (Error::Pool(_) | Error::Store(_))) if !error.blames_record() => {
                failures += 1;
                let error = chain(&error);
                tracing::warn!(%topic, failures, error, "the inbox cannot begin yet, trying again");
                back_off(failures, stop).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

async fn enter(pool: &Pool, topic: &Topic, intakes: &Intakes) -> Result<(Uuid, Careful), Error> {
    let client = pool.get().await?;
    let identity = copy::read_identity(&client).await?;
    copy::create_topic(&client, topic).await?;
    for at in copy::read_copy(&client, topic).await?.1 {
        intakes.enter(&at.stream);
    }
    drop(client);
    Ok((identity, Careful::begin(pool, topic).await?))
}

/// Sleeps after so many failures in a row, or until stopped.
pub(crate) async fn back_off(failures: u32, stop: &CancellationToken) {
    let random = u64::from_le_bytes(first_half(Uuid::new_v4()));
    let wait = BACKOFF.wait(failures, random);
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

/// Eight of the random bytes of an id; six of its bits are fixed, which no jitter notices.
fn first_half(id: Uuid) -> [u8; 8] {
    let [a, b, c, d, e, f, _, g, _, h, ..] = *id.as_bytes();
    [a, b, c, d, e, f, g, h]
}
