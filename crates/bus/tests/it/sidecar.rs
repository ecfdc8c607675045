//! Real sidecars, and the buses of the services beside them.

use std::path::Path;

use axum::Router;
use bus::{Bus, Config, Transport};
use secrecy::SecretString;
use testkit::Sidecars;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) const API_TOKEN: &str = Sidecars::API_TOKEN;
pub(crate) const APP_TOKEN: &str = Sidecars::APP_TOKEN;

/// One host: its sidecars, and the services that listen on it.
pub(crate) struct Host {
    sidecars: Sidecars,
    services: JoinSet<()>,
}

/// One sidecar process; gone when this is dropped.
pub(crate) struct Sidecar(testkit::Sidecar);

impl Host {
    /// Its sidecars use the Redis at this URL.
    pub(crate) fn new(redis_url: &str) -> anyhow::Result<Self> {
        Ok(Self { sidecars: Sidecars::over(redis_url)?, services: JoinSet::new() })
    }

    /// The same, with other component files than the project's.
    pub(crate) fn with_components(redis_url: &str, folder: &Path) -> anyhow::Result<Self> {
        let sidecars = Sidecars::over(redis_url)?.with_components(folder);
        Ok(Self { sidecars, services: JoinSet::new() })
    }

    /// Serves these routes on a free port and names it.
    pub(crate) async fn serve(&mut self, routes: Router) -> anyhow::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        self.services.spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        });
        Ok(port)
    }

    /// Starts a sidecar and waits until it can publish.
    pub(crate) async fn sidecar(&self, app_id: &str, app_port: u16) -> anyhow::Result<Sidecar> {
        Ok(Sidecar(self.sidecars.start(app_id, app_port).await?))
    }
}

impl Sidecar {
    /// The bus of the service beside this sidecar.
    pub(crate) fn bus(&self) -> Result<Bus, bus::Error> {
        self.bus_with(API_TOKEN, APP_TOKEN)
    }

    pub(crate) fn bus_with(&self, api_token: &str, app_token: &str) -> Result<Bus, bus::Error> {
        let config = Config {
            dapr_api_token: Some(SecretString::from(api_token)),
            app_api_token: SecretString::from(app_token),
            ..self.config()
        };
        Bus::connect(&config, "beside-a-sidecar")
    }

    /// The settings of the service beside this sidecar, as the local runner gives them.
    pub(crate) fn config(&self) -> Config {
        Config {
            transport: Transport::Dapr,
            redis_url: None,
            dapr_http_port: self.0.http_port,
            dapr_grpc_port: self.0.grpc_port,
            dapr_metrics_port: Some(self.0.metrics_port),
            dapr_api_token: Some(SecretString::from(API_TOKEN)),
            app_api_token: SecretString::from(APP_TOKEN),
        }
    }
}
