//! A real sidecar with the flags of the local runner.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use testkit::quiet_ports;

use crate::place::Place;
use crate::process::{Process, command};

/// What services show to their sidecars, and sidecars to their services. Nobody else can reach
/// them while a run lasts, and nothing in it is worth a secret.
pub const API_TOKEN: &str = "bench-api";
/// See [`API_TOKEN`].
pub const APP_TOKEN: &str = "bench-app";

/// A sidecar process.
#[derive(Debug)]
pub struct Sidecar {
    /// The process.
    pub process: Process,
    /// Its HTTP port.
    pub http: u16,
    /// Its gRPC port.
    pub grpc: u16,
}

impl Sidecar {
    /// Starts the sidecar of the app on this port with these folders of components.
    pub fn start(
        place: &Place,
        (name, app_id, app_port): (&str, &str, u16),
        resources: &[PathBuf],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let [http, grpc, internal, metrics] = quiet_ports()?;
        let broker = place.redis_url.expose_secret().trim_start_matches("redis://").to_owned();
        let (password, address) = broker.rsplit_once('@').unwrap_or(("", &broker));
        let (address, _) = address.split_once('/').unwrap_or((address, ""));
        let mut command = command(&place.daprd);
        command
            .args(["--app-id", app_id])
            .args(["--app-port", &app_port.to_string()])
            .args(["--app-channel-address", "127.0.0.1"])
            .args(["--dapr-http-port", &http.to_string()])
            .args(["--dapr-grpc-port", &grpc.to_string()])
            .args(["--dapr-internal-grpc-port", &internal.to_string()])
            .args(["--metrics-port", &metrics.to_string()])
            .args(["--dapr-listen-addresses", "127.0.0.1"])
            .args(["--dapr-internal-grpc-listen-address", "127.0.0.1"])
            .args(["--metrics-listen-address", "127.0.0.1"])
            .args(["--disable-init-endpoints", "subscribe,config"])
            .args(["--read-buffer-size", "64Ki"])
            .args(["--dapr-graceful-shutdown-seconds", "3"]);
        command.arg("--config").arg(place.components.join("configuration.yaml"));
        for folder in resources {
            command.arg("--resources-path").arg(folder);
        }
        command
            .env("DAPR_HOST_IP", "127.0.0.1")
            .env("DAPR_API_TOKEN", API_TOKEN)
            .env("APP_API_TOKEN", APP_TOKEN)
            .env("SYNCLINE_NAMES", folder.join("names.db"))
            .env("SYNCLINE_REDIS_HOST", address)
            .env("SYNCLINE_REDIS_PASSWORD", password.trim_start_matches(':'));
        let process = Process::start(name, command, folder)?;
        Ok(Self { process, http, grpc })
    }

    /// Waits until it can publish; it may have ended instead.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{}/v1.0/healthz/outbound", self.http);
        let client = reqwest::Client::builder().timeout(Duration::from_secs(1)).build()?;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            self.process.check()?;
            let answer = client.get(&url).header("dapr-api-token", API_TOKEN).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            let late = tokio::time::Instant::now() > deadline;
            (!late).then_some(()).context("the sidecar is not ready after 30 s")?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
