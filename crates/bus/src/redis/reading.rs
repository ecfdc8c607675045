//! One stream, read for one group: in order, until told to stop. What waits is handed over
//! together, and whatever is refused then one entry at a time.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use contracts::Stream;

use super::entry::{self, Entry};
use super::{Redis, link};
use crate::delivery::{ATTEMPTS_MAX, RETRY_INTERVAL, Subscriptions, attempt, attempt_all};
use crate::{Delivery, Verdict};

/// How many entries are taken at a time: they are in memory, and in doubt if this process dies.
const BATCH_ENTRIES_MAX: usize = 16;
/// How long one question for new entries waits for them.
const BLOCK_MS: u64 = 5_000;
/// Longer than a question may wait, or an idle stream would look like a dead server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);
/// How often the entries of readers that died are looked for.
const CLAIM_INTERVAL: Duration = Duration::from_secs(15);
/// When a reader is taken for dead: no living one needs as long for a whole batch, even if each of
/// its entries is refused at every try.
const DEAD_AFTER_MS: u64 = 60_000;
/// How long the last handler, and then the last acknowledgements, may take after the end; what they
/// miss is delivered once more.
const FAREWELL: Duration = Duration::from_millis(500);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// An error of the server that says that group or stream are gone.
const NO_GROUP: &str = "NOGROUP";
/// What creating a group answers if it is there already.
const GROUP_EXISTS: &str = "BUSYGROUP";
/// Where looking for entries of the dead begins, and what a finished look answers.
const START: &[u8] = b"0-0";

pub(super) struct Reading {
    redis: Arc<Redis>,
    stream: Stream,
    handlers: Arc<Subscriptions>,
    stop: CancellationToken,
    /// Handled, but not acknowledged yet: that travels with the next question.
    handled: Vec<Vec<u8>>,
    /// When to look for entries of the dead, and from which entry on.
    claim: (Instant, Vec<u8>),
    failures: u32,
}

impl Reading {
    pub(super) fn new(
        redis: &Arc<Redis>,
        stream: Stream,
        handlers: Arc<Subscriptions>,
        stop: CancellationToken,
    ) -> Self {
        let claim = (Instant::now(), START.to_vec());
        let redis = Arc::clone(redis);
        Self { redis, stream, handlers, stop, handled: Vec::new(), claim, failures: 0 }
    }

    /// Reads until told to stop; whatever fails is tried again, later each time.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            let Err(error) = self.read_on(&stop).await else { return };
            self.complain(&error);
            self.failures = self.failures.saturating_add(1);
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(backoff(self.failures, random())) => {}
            }
        }
    }

    /// Reads on one connection until told to stop, or until something fails.
    async fn read_on(&mut self, stop: &CancellationToken) -> RedisResult<()> {
        let mut connection = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            connected = self.connect() => connected?,
        };
        loop {
            // An entry that is on its way when this question is given up stays pending, and is
            // claimed later on. The end comes first, or it would take acknowledgements with it that
            // are not sent yet.
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                batch = self.next(&mut connection) => batch?,
            };
            if self.failures > 0 {
                tracing::info!(stream = %self.stream, "the stream is read again");
                self.failures = 0;
            }
            self.take_all(batch, stop).await;
        }
        if let Some(acknowledge) = self.acknowledgements() {
            let acknowledging = acknowledge.query_async::<Value>(&mut connection);
            // What is missed here is delivered once more, to somebody who knows it already.
            let _ = timeout(FAREWELL, acknowledging).await;
        }
        Ok(())
    }

    /// A connection of this stream's own, since waiting for entries keeps it busy, and the group.
    ///
    /// The group begins with everything that is kept: it may replace one that was lost with some
    /// entries unread, and what is known already costs a comparison.
    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let mut connection = link::dial(&self.redis.client, Some(ANSWER_TIMEOUT)).await?;
        let mut create = Cmd::new();
        create.arg("XGROUP").arg("CREATE").arg(self.stream.as_str()).arg(&self.redis.group);
        create.arg("0").arg("MKSTREAM");
        match create.query_async::<Value>(&mut connection).await {
            Err(error) if error.code() != Some(GROUP_EXISTS) => Err(error),
            Ok(_) | Err(_) => Ok(connection),
        }
    }

    /// Acknowledges what was handled, and asks for more in the same breath.
    async fn next(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<Vec<Entry>> {
        let mut acknowledging = connection.clone();
        let acknowledge = self.acknowledgements();
        let acknowledged = async {
            match &acknowledge {
                Some(command) => command.query_async::<Value>(&mut acknowledging).await.map(drop),
                None => Ok(()),
            }
        };
        let is_claim = self.claim.0 <= Instant::now();
        let question = if is_claim { self.claim() } else { self.read() };
        let asked = question.query_async::<Value>(connection);
        let (acknowledged, answer) = tokio::join!(acknowledged, asked);
        let answer = answer?;
        acknowledged?;
        Ok(if is_claim { self.claimed(answer) } else { entry::read(answer) })
    }

    fn acknowledgements(&mut self) -> Option<Cmd> {
        let handled = mem::take(&mut self.handled);
        if handled.is_empty() {
            return None;
        }
        let mut acknowledge = Cmd::new();
        acknowledge.arg("XACK").arg(self.stream.as_str()).arg(&self.redis.group).arg(handled);
        Some(acknowledge)
    }

    fn read(&self) -> Cmd {
        let group = &self.redis.group;
        let mut read = Cmd::new();
        read.arg("XREADGROUP").arg("GROUP").arg(group).arg(group);
        read.arg("COUNT").arg(BATCH_ENTRIES_MAX).arg("BLOCK").arg(BLOCK_MS);
        read.arg("STREAMS").arg(self.stream.as_str()).arg(">");
        read
    }

    fn claim(&self) -> Cmd {
        let group = &self.redis.group;
        let mut claim = Cmd::new();
        claim.arg("XAUTOCLAIM").arg(self.stream.as_str()).arg(group).arg(group);
        claim.arg(DEAD_AFTER_MS).arg(&self.claim.1);
        claim.arg("COUNT").arg(BATCH_ENTRIES_MAX);
        claim
    }

    /// A look that found more than a batch goes on at once.
    fn claimed(&mut self, answer: Value) -> Vec<Entry> {
        let (next, entries) =
            entry::claimed(answer).unwrap_or_else(|| (START.to_vec(), Vec::new()));
        let done = next == START;
        let wait = if done { CLAIM_INTERVAL } else { Duration::ZERO };
        self.claim = (Instant::now() + wait, next);
        entries
    }

    /// Hands a batch over: those that are there together first, the rest one by one.
    async fn take_all(&mut self, mut batch: Vec<Entry>, stop: &CancellationToken) {
        let together = self.take_together(&batch).await;
        if let Some(done) = together {
            self.handled.extend(batch.drain(..done).map(|entry| entry.id));
        }
        let mut tried = u32::from(together.is_some());
        for entry in batch {
            if stop.is_cancelled() {
                break;
            }
            self.take(entry, mem::take(&mut tried)).await;
        }
    }

    /// How many of the first entries are done; none if there was no point in trying.
    async fn take_together(&self, batch: &[Entry]) -> Option<usize> {
        let bodies = batch.iter().map_while(|entry| entry.body.clone());
        let deliveries: Vec<_> =
            bodies.map(|body| Delivery { stream: self.stream.clone(), body }).collect();
        let handler = self.handlers.find(&self.stream).filter(|_| deliveries.len() > 1)?;
        tokio::select! {
            done = attempt_all(handler.as_ref(), &deliveries) => Some(done.min(deliveries.len())),
            () = self.long_stopped() => None,
        }
    }

    /// Hands an entry over until it is taken, after so many tries; one that is refused for too long
    /// is left to the feed.
    async fn take(&mut self, entry: Entry, tried: u32) {
        let Some(body) = entry.body else {
            tracing::warn!(stream = %self.stream, "an entry carries no envelope");
            self.handled.push(entry.id);
            return;
        };
        for number in tried + 1..=ATTEMPTS_MAX {
            if number > 1 {
                sleep(RETRY_INTERVAL).await;
            }
            let Some(handler) = self.handlers.find(&self.stream) else { continue };
            let delivery = Delivery { stream: self.stream.clone(), body: body.clone() };
            let verdict = tokio::select! {
                verdict = attempt(handler.as_ref(), delivery) => verdict,
                () = self.long_stopped() => return,
            };
            if verdict == Verdict::Done {
                self.handled.push(entry.id);
                return;
            }
            // It stays pending: a handler that stops refuses everything.
            if self.stop.is_cancelled() {
                return;
            }
        }
        tracing::warn!(stream = %self.stream, "a refused delivery is given up, the feed has it");
        self.handled.push(entry.id);
    }

    /// A handler that is at work when this process is told to stop may finish, if it is quick.
    async fn long_stopped(&self) {
        self.stop.cancelled().await;
        sleep(FAREWELL).await;
    }

    /// Loud once for each time that something is broken.
    fn complain(&self, error: &RedisError) {
        let stream = &self.stream;
        let what = if error.code() == Some(NO_GROUP) {
            "the broker lost the group of a stream, it is made again"
        } else {
            "reading a stream failed, it is tried again"
        };
        if self.failures == 0 {
            tracing::warn!(%stream, %error, "{what}");
        } else {
            tracing::debug!(%stream, %error, failures = self.failures, "{what}");
        }
    }
}

/// Between nothing and a limit that doubles with each failure.
fn backoff(failures: u32, random: u64) -> Duration {
    let limit = BACKOFF_MIN.saturating_mul(1 << failures.min(7)).min(BACKOFF_MAX);
    limit.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

/// Each state of the standard hasher has random keys.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
