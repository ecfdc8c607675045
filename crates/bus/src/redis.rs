//! The transport through Redis streams alone, without a sidecar.
//!
//! Keys, entries, groups and trimming are those of Dapr's Redis component, so that services on this
//! transport and services beside sidecars can share one Redis. Like there, the group begins with
//! everything that is still kept, all replicas are one consumer, and what a handler refused for
//! half a second is acknowledged and left to the feed.
//!
//! There are no scopes here: whoever reaches the Redis may publish. Where that is too much, give
//! each service a user of its own whose rights end at its streams, and name it in `REDIS_URL`.

mod entry;
mod link;
mod reading;

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::{Client, Cmd, ErrorKind, ServerErrorKind, Value};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use contracts::{Lane, Stream};

use self::link::Link;
use self::reading::Reading;
use crate::delivery::Subscriptions;
use crate::{Error, Unfit, fitness};

/// Dialling included; after it the outcome is unknown.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);
const READY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an entry is kept, as the components say it in `streamTTL`.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);
/// What the sidecar writes beside an envelope that it was told to leave as it is; the trace is in
/// the envelope.
const METADATA: &str = r#"{"rawPayload":"true","traceid":"","tracestate":""}"#;
/// Room for names and numbers around an envelope, so that packing it grows no buffer.
const FRAME_BYTES: usize = 512;

pub(crate) struct Redis {
    client: Client,
    link: Link,
    group: String,
}

impl Redis {
    pub(crate) fn new(url: Option<&SecretString>, group: &str) -> Result<Self, Error> {
        let url = url.ok_or(Error::NoRedis)?.expose_secret();
        let client = Client::open(url).map_err(Error::RedisUrl)?;
        Ok(Self { link: Link::new(client.clone()), client, group: group.to_owned() })
    }

    pub(crate) async fn publish(&self, stream: &Stream, envelope: &[u8]) -> Result<(), Error> {
        let mut add = Cmd::with_capacity(10, envelope.len() + FRAME_BYTES);
        add.arg("XADD").arg(stream.as_str());
        add.arg("MINID").arg("~").arg(oldest_kept()).arg("*");
        add.arg("data").arg(envelope).arg("metadata").arg(METADATA);
        let added: Result<Value, _> = self.link.ask(&add, PUBLISH_TIMEOUT).await;
        added.map_err(|error| Error::publish(stream, error))?;
        Ok(())
    }

    /// What is wrong with the broker, as soon as it answers; never done where nothing is.
    pub(crate) async fn unfit(&self) -> Unfit {
        let mut info = Cmd::new();
        info.arg("INFO").arg("memory");
        loop {
            match self.link.ask::<String>(&info, READY_TIMEOUT).await {
                Ok(told) => {
                    return match fitness::streams(&told) {
                        Err(unfit) => unfit,
                        Ok(()) => pending().await,
                    };
                }
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
                    tracing::warn!("this Redis does not tell whether it may drop streams");
                    return pending().await;
                }
                Err(_) => tokio::time::sleep(fitness::LOOK_PAUSE).await,
            }
        }
    }

    pub(crate) async fn ready(&self) -> bool {
        let mut ping = Cmd::new();
        self.link.ask::<Value>(ping.arg("PING"), READY_TIMEOUT).await.is_ok()
    }

    /// Reads every stream of every topic that somebody subscribes to, one loop for each, so that
    /// neither a lane nor a topic waits for another.
    pub(crate) async fn run(
        self: Arc<Self>,
        subscriptions: Arc<Subscriptions>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut loops = JoinSet::new();
        let mut changes = subscriptions.changes();
        let mut read = Vec::new();
        let mut unfit = std::pin::pin!(self.unfit());
        loop {
            for topic in subscriptions.topics() {
                if read.contains(&topic) {
                    continue;
                }
                for lane in Lane::ALL {
                    let stream = Stream::new(&topic, lane);
                    let handlers = Arc::clone(&subscriptions);
                    let reading = Reading::new(&self, stream, handlers, stop.clone());
                    loops.spawn(reading.run());
                }
                read.push(topic);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                unfit = &mut unfit => return Err(unfit.into()),
                // Closed only with the last bus, and this loop holds one.
                _ = changes.changed() => {}
                Some(ended) = loops.join_next() => ended.map_err(Error::Reading)?,
            }
        }
        while let Some(ended) = loops.join_next().await {
            ended.map_err(Error::Reading)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Redis {
    /// The client knows a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("group", &self.group).finish_non_exhaustive()
    }
}

/// The id before which entries may go.
fn oldest_kept() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-1", now.saturating_sub(KEPT_FOR).as_millis())
}
