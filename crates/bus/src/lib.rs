//! Carries envelopes from a relay to its consumers, and questions between services.
//!
//! Promises little on purpose: a publish that answered may still be lost, repeated, delayed or
//! overtaken, and one that failed may have arrived. What must not be lost is kept in PostgreSQL at
//! both ends. The bus promises only that bytes arrive unchanged, that a delivery is answered with
//! the handler's verdict and never with a silent drop, and that strangers are refused.
//!
//! Transports with one meaning: [`Transport::Dapr`], [`Transport::Redis`] without a sidecar,
//! [`Transport::Memory`] for tests, and [`Transport::None`], where consumers read the feed alone.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bus::{Bus, Delivery, Handler, Memory, Verdict};
//! use bytes::Bytes;
//! use contracts::{Lane, Stream, Topic};
//! use futures::future::{BoxFuture, FutureExt};
//!
//! struct Print;
//! impl Handler for Print {
//!     fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Verdict> {
//!         async move {
//!             assert_eq!(delivery.stream.as_str(), "catalog.products.normal");
//!             Verdict::Done
//!         }
//!         .boxed()
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let hub = Memory::new();
//! let topic = Topic::parse("catalog.products")?;
//! let consumer = Bus::memory(&hub);
//! consumer.subscribe(&topic, Arc::new(Print));
//! let stream = Stream::new(&topic, Lane::Normal);
//! Bus::memory(&hub).publish(&stream, Lane::Normal, Bytes::from_static(b"{}")).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod dapr;
mod delivery;
mod error;
mod fitness;
mod memory;
pub mod metrics;
mod peer;
mod redis;
mod routes;
pub mod trace;

use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use contracts::{Lane, Stream, Topic};

pub use crate::config::{Config, Transport};
pub use crate::delivery::{Delivery, Handler, Verdict};
pub use crate::error::Error;
pub use crate::fitness::Unfit;
pub use crate::memory::{Fault, Memory};
pub use crate::peer::Peer;

use crate::dapr::Dapr;
use crate::delivery::Subscriptions;
use crate::redis::Redis;

/// One service's connection to all others; clones share it.
#[derive(Debug, Clone)]
pub struct Bus {
    link: Link,
    subscriptions: Arc<Subscriptions>,
    app_token: Option<SecretString>,
    http: reqwest::Client,
}

#[derive(Debug, Clone)]
enum Link {
    Dapr(Arc<Dapr>),
    Redis(Arc<Redis>),
    Memory(Memory),
    None,
}

impl Bus {
    /// Connects the service of this name, as configured. Call it inside a Tokio runtime; nothing is
    /// dialled before first use.
    pub fn connect(config: &Config, name: &str) -> Result<Self, Error> {
        let http = peer::client();
        if !peer::is_token(&config.app_api_token) {
            return Err(Error::Token("APP_API_TOKEN"));
        }
        let link = match config.transport {
            Transport::Dapr => Link::Dapr(Arc::new(Dapr::new(config, http.clone())?)),
            Transport::Redis => Link::Redis(Arc::new(Redis::new(config.redis_url.as_ref(), name)?)),
            Transport::Memory => return Err(Error::MemoryIsForTests),
            Transport::None => Link::None,
        };
        let app_token = Some(config.app_api_token.clone());
        Ok(Self { link, subscriptions: Arc::default(), app_token, http })
    }

    /// One more service on this hub.
    pub fn memory(hub: &Memory) -> Self {
        let subscriptions = Arc::<Subscriptions>::default();
        hub.join(&subscriptions);
        Self {
            link: Link::Memory(hub.clone()),
            subscriptions,
            app_token: None,
            http: peer::client(),
        }
    }

    /// A bus that carries nothing: publishing succeeds and nobody hears of it.
    pub fn none() -> Self {
        Self {
            link: Link::None,
            subscriptions: Arc::default(),
            app_token: None,
            http: peer::client(),
        }
    }

    /// The same bus with the token that others must show; without one all of them are refused.
    #[must_use]
    pub fn with_app_token(mut self, token: SecretString) -> Self {
        self.app_token = Some(token);
        self
    }

    /// Publishes one finished envelope. An error means that the outcome is unknown.
    pub async fn publish(&self, stream: &Stream, lane: Lane, envelope: Bytes) -> Result<(), Error> {
        match &self.link {
            Link::Dapr(sidecar) => sidecar.publish(stream, lane, envelope).await,
            Link::Redis(redis) => redis.publish(stream, &envelope).await,
            Link::Memory(hub) => hub.publish(stream, envelope).await,
            Link::None => Ok(()),
        }
    }

    /// Hands deliveries of this topic, in whatever lane, to the handler from now on.
    ///
    /// What a sidecar sends is declared in `components/subscriptions/`; until the handler is
    /// registered here, such deliveries are refused and so sent again. Without a sidecar the topic
    /// is read as soon as [`Bus::run`] runs.
    pub fn subscribe(&self, topic: &Topic, handler: Arc<dyn Handler>) {
        self.subscriptions.set(topic, handler);
    }

    /// Brings deliveries to the handlers until `stop` is cancelled, and ends soon after it; ends
    /// with an error where broker or sidecar would lose deliveries in silence, see [`Unfit`].
    ///
    /// Every service runs it, once: only some transports have something to do in it.
    pub fn run(
        &self,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (link, subscriptions) = (self.link.clone(), Arc::clone(&self.subscriptions));
        async move {
            match link {
                Link::Redis(redis) => redis.run(subscriptions, stop).await,
                // A sidecar calls the routes, and the hub the handlers.
                Link::Dapr(sidecar) => tokio::select! {
                    () = stop.cancelled() => Ok(()),
                    unfit = sidecar.unfit() => Err(unfit.into()),
                },
                Link::Memory(_) | Link::None => {
                    stop.cancelled().await;
                    Ok(())
                }
            }
        }
    }

    /// `POST /events/{stream}` for the sidecar's deliveries.
    ///
    /// Answers 200 once the handler is done. Everything else is an error that makes the sidecar
    /// try again: never 404, which it takes for "drop", nor a 200 that nobody decided.
    pub fn routes(&self) -> Router {
        self.guard(routes::deliveries(Arc::clone(&self.subscriptions)))
    }

    /// Routes that only holders of the app token may call; all others get 401.
    ///
    /// # Panics
    /// If there are no routes to guard.
    pub fn guard(&self, routes: Router) -> Router {
        routes::guard(routes, self.app_token.clone())
    }

    /// Whether publishing can work; sidecar or broker must answer, the service itself need not yet.
    pub async fn ready(&self) -> bool {
        match &self.link {
            Link::Dapr(sidecar) => sidecar.ready().await,
            Link::Redis(redis) => redis.ready().await,
            Link::Memory(_) | Link::None => true,
        }
    }

    /// The transport in use.
    pub fn transport(&self) -> Transport {
        match self.link {
            Link::Dapr(_) => Transport::Dapr,
            Link::Redis(_) => Transport::Redis,
            Link::Memory(_) => Transport::Memory,
            Link::None => Transport::None,
        }
    }

    /// Another service, asked through the sidecar. Without a sidecar its requests fail: there,
    /// use [`Bus::direct`].
    pub fn peer(&self, app_id: &str) -> Peer {
        match &self.link {
            Link::Dapr(sidecar) => sidecar.peer(app_id),
            Link::Redis(_) | Link::Memory(_) | Link::None => {
                Peer::new(app_id, "", None, &self.http)
            }
        }
    }

    /// Another service, asked directly at its base URL, with this bus's app token.
    pub fn direct(&self, base_url: &str) -> Peer {
        Peer::new(base_url, base_url, self.app_token.clone(), &self.http)
    }
}
