//! The same little mesh on each transport: a relay's bus, consumers that come and go, and a broker
//! that can be broken.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Config, Handler, Memory, Transport};
use bytes::Bytes;
use contracts::{Lane, Stream, Topic};
use redis::Value;
use redis::aio::MultiplexedConnection;
use secrecy::SecretString;
use testkit::RedisServer;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::products;
use crate::sidecar::{APP_TOKEN, Host, Sidecar};

/// Many sidecars at once would wait for the processor instead of for each other.
pub(crate) static TURNS: Mutex<()> = Mutex::const_new(());

pub(crate) struct World {
    pub(crate) transport: Transport,
    hub: Memory,
    relay: Bus,
    /// Gone before its host.
    _beside_relay: Option<Sidecar>,
    host: Option<Host>,
    broker: Option<RedisServer>,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// One process of a consumer; gone at once when this is dropped.
pub(crate) struct Consumer {
    stop: CancellationToken,
    running: JoinSet<Result<(), bus::Error>>,
    _sidecar: Option<Sidecar>,
}

impl World {
    #[expect(clippy::print_stdout, reason = "only a test that fails prints")]
    pub(crate) async fn start(transport: Transport) -> anyhow::Result<Self> {
        println!("on transport {transport}");
        let hub = Memory::new();
        let turn = if transport == Transport::Dapr { Some(TURNS.lock().await) } else { None };
        let broker = match transport {
            Transport::Dapr | Transport::Redis => Some(RedisServer::streams().await?),
            Transport::Memory | Transport::None => None,
        };
        let mut world = Self {
            transport,
            relay: Bus::none(),
            _beside_relay: None,
            host: None,
            broker,
            _turn: turn,
            hub,
        };
        world.relay = match transport {
            Transport::Dapr => {
                let host = Host::new(&world.broker().url())?;
                let sidecar = host.sidecar("relay", 1).await?;
                let bus = sidecar.bus()?;
                (world.host, world._beside_relay) = (Some(host), Some(sidecar));
                bus
            }
            Transport::Redis => direct(&world.broker().url(), "relay")?,
            Transport::Memory => Bus::memory(&world.hub),
            Transport::None => Bus::none(),
        };
        Ok(world)
    }

    /// One more process of the consumer, which hears products and categories.
    pub(crate) async fn consumer(
        &mut self,
        name: &str,
        handler: Arc<dyn Handler>,
    ) -> anyhow::Result<Consumer> {
        let bus = match self.transport {
            Transport::Dapr => Bus::none().with_app_token(SecretString::from(APP_TOKEN)),
            Transport::Redis => direct(&self.broker().url(), name)?,
            Transport::Memory => Bus::memory(&self.hub),
            Transport::None => Bus::none(),
        };
        for topic in [products(), categories()] {
            bus.subscribe(&topic, Arc::clone(&handler));
        }
        let sidecar = match &mut self.host {
            Some(host) => {
                let port = host.serve(bus.routes()).await?;
                Some(host.sidecar(name, port).await?)
            }
            None => None,
        };
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(bus.run(stop.clone()));
        Ok(Consumer { stop, running, _sidecar: sidecar })
    }

    pub(crate) async fn publish(&self, lane: Lane, event: &str) -> Result<(), bus::Error> {
        self.publish_to(&Stream::new(&products(), lane), lane, event).await
    }

    pub(crate) async fn publish_to(
        &self,
        stream: &Stream,
        lane: Lane,
        event: &str,
    ) -> Result<(), bus::Error> {
        self.relay.publish(stream, lane, Bytes::copy_from_slice(event.as_bytes())).await
    }

    /// As a relay does it: until it is known to have worked.
    pub(crate) async fn publish_surely(&self, event: &str) {
        testkit::eventually("it is published", || async {
            self.publish(Lane::Normal, event).await?;
            Ok(true)
        })
        .await;
    }

    pub(crate) fn relay(&self) -> &Bus {
        &self.relay
    }

    pub(crate) fn broker(&self) -> &RedisServer {
        self.broker.as_ref().expect("this transport has a broker")
    }

    pub(crate) fn broker_mut(&mut self) -> &mut RedisServer {
        self.broker.as_mut().expect("this transport has a broker")
    }

    /// Says something to the broker behind the transport's back.
    pub(crate) async fn tell_broker(&self, words: &[&str]) -> anyhow::Result<Value> {
        let mut command = redis::Cmd::new();
        command.arg(words);
        Ok(command.query_async(&mut connect(&self.broker().url()).await?).await?)
    }
}

impl Consumer {
    /// Stops in order, which must not take long.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        soon(self.running.join_next()).await?.expect("the bus runs until it is stopped")??;
        Ok(())
    }
}

/// What has to happen promptly.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::time::timeout(Duration::from_secs(2), what).await?)
}

pub(crate) fn categories() -> Topic {
    Topic::parse("catalog.categories").unwrap()
}

/// The settings of a service without a sidecar.
pub(crate) fn direct(redis_url: &str, name: &str) -> Result<Bus, bus::Error> {
    let config = Config {
        transport: Transport::Redis,
        redis_url: Some(SecretString::from(redis_url)),
        dapr_http_port: 1,
        dapr_grpc_port: 1,
        dapr_metrics_port: None,
        dapr_api_token: None,
        app_api_token: SecretString::from(APP_TOKEN),
    };
    Bus::connect(&config, name)
}

pub(crate) async fn connect(redis_url: &str) -> anyhow::Result<MultiplexedConnection> {
    Ok(redis::Client::open(redis_url)?.get_multiplexed_async_connection().await?)
}
