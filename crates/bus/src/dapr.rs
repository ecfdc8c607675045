//! The transport through a Dapr sidecar on this host.

use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use ::dapr::client::ApiTokenInterceptor;
use ::dapr::dapr::proto::runtime::v1::PublishEventRequest;
use ::dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use bytes::Bytes;
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use contracts::{Lane, MEDIA_TYPE, Stream};

use crate::redis::Redis;
use crate::{Config, Error, Peer, Unfit, fitness, peer};

/// Longer than the sidecar's own tries towards its broker; after it the outcome is unknown.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const READY_TIMEOUT: Duration = Duration::from_secs(1);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Dapr {
    client: DaprClient<InterceptedService<Channel, ApiTokenInterceptor>>,
    http: reqwest::Client,
    base: String,
    token: SecretString,
    metrics_port: Option<u16>,
    /// The sidecar's broker, where it is known.
    broker: Option<Redis>,
}

impl Dapr {
    pub(crate) fn new(config: &Config, http: reqwest::Client) -> Result<Self, Error> {
        let token = config.dapr_api_token.clone().filter(peer::is_token);
        let token = token.ok_or(Error::Token("DAPR_API_TOKEN"))?;
        let interceptor = ApiTokenInterceptor::new(Some(token.expose_secret().to_owned()));
        let channel = channel(config.dapr_grpc_port);
        let base = format!("http://127.0.0.1:{}/v1.0", config.dapr_http_port);
        let client = DaprClient::with_interceptor(channel, interceptor);
        let broker = config.redis_url.as_ref().map(|url| Redis::new(Some(url), "look"));
        let (metrics_port, broker) = (config.dapr_metrics_port, broker.transpose()?);
        Ok(Self { client, http, base, token, metrics_port, broker })
    }

    pub(crate) async fn publish(
        &self,
        stream: &Stream,
        lane: Lane,
        envelope: Bytes,
    ) -> Result<(), Error> {
        let request = PublishEventRequest {
            pubsub_name: component(lane),
            topic: stream.as_str().to_owned(),
            data: envelope.into(),
            data_content_type: MEDIA_TYPE.to_owned(),
            // The envelope is a finished event: the sidecar must not wrap or rewrite it.
            metadata: HashMap::from([("rawPayload".to_owned(), "true".to_owned())]),
        };
        let mut client = self.client.clone();
        client.publish_event(request).await.map_err(|status| Error::publish(stream, status))?;
        Ok(())
    }

    pub(crate) async fn ready(&self) -> bool {
        // `healthz` alone would wait for our own port, which opens only once we are ready.
        let health = self.http.get(format!("{}/healthz/outbound", self.base));
        let answer = health.timeout(READY_TIMEOUT).send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::NO_CONTENT)
    }

    /// What is wrong with sidecar or broker, as soon as they answer; never done where nothing is.
    pub(crate) async fn unfit(&self) -> Unfit {
        let broker = async {
            match &self.broker {
                Some(broker) => broker.unfit().await,
                None => pending().await,
            }
        };
        tokio::select! {
            unfit = self.without_retries() => unfit,
            unfit = broker => unfit,
        }
    }

    async fn without_retries(&self) -> Unfit {
        let Some(port) = self.metrics_port else { return pending().await };
        loop {
            // What it has not read yet when its metrics open, it has when it is ready.
            if self.ready().await
                && let Ok(metrics) = self.metrics(port).await
            {
                return match fitness::sidecar(&metrics) {
                    Err(unfit) => unfit,
                    Ok(()) => pending().await,
                };
            }
            tokio::time::sleep(fitness::LOOK_PAUSE).await;
        }
    }

    async fn metrics(&self, port: u16) -> reqwest::Result<String> {
        let ask = self.http.get(format!("http://127.0.0.1:{port}/metrics"));
        ask.timeout(READY_TIMEOUT).send().await?.error_for_status()?.text().await
    }

    pub(crate) fn peer(&self, app_id: &str) -> Peer {
        let base = format!("{}/invoke/{app_id}/method", self.base);
        Peer::new(app_id, &base, Some(self.token.clone()), &self.http)
    }
}

/// The component that carries a lane; one file each in `components/`.
fn component(lane: Lane) -> String {
    format!("pubsub-{lane}")
}

fn channel(port: u16) -> Channel {
    Endpoint::from_shared(format!("http://127.0.0.1:{port}"))
        .expect("an address and a port form a URL")
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(PUBLISH_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .connect_lazy()
}
