//! Real sidecars with the project's own component files, gone when the test is.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use bus::{Bus, Config, Transport};
use secrecy::SecretString;
use tempfile::TempDir;
use testkit::Servers;
use tokio::task::JoinSet;

pub(crate) const API_TOKEN: &str = "what-services-show-to-their-sidecar";
pub(crate) const APP_TOKEN: &str = "what-sidecars-show-to-their-service";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../components");

/// One host: a file in which its sidecars find each other, and the services that listen on it.
pub(crate) struct Host {
    daprd: String,
    broker: String,
    names: TempDir,
    services: JoinSet<()>,
}

/// One sidecar process; killed on drop, and with the test's thread if that dies first.
pub(crate) struct Sidecar {
    child: Child,
    log: PathBuf,
    http_port: u16,
    grpc_port: u16,
}

impl Host {
    /// Its sidecars use the Redis at this URL.
    pub(crate) fn new(redis_url: &str) -> anyhow::Result<Self> {
        let daprd = Servers::from_env()?.daprd;
        let daprd = daprd.expect("`cargo x test` names a sidecar in DAPRD");
        let broker = redis_url.trim_start_matches("redis://").to_owned();
        Ok(Self { daprd, broker, names: TempDir::new()?, services: JoinSet::new() })
    }

    /// Serves these routes on a free port and names it.
    pub(crate) async fn serve(&mut self, routes: Router) -> anyhow::Result<u16> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        self.services.spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        });
        Ok(port)
    }

    /// Starts a sidecar as `cargo x up` does, whose tests compare the flags, and waits until it can
    /// publish through it.
    pub(crate) async fn sidecar(&self, app_id: &str, app_port: u16) -> anyhow::Result<Sidecar> {
        let [http_port, grpc_port, internal_port, metrics_port] = free_ports()?;
        let (password, address) = self.broker.rsplit_once('@').unwrap_or(("", &self.broker));
        let (address, _) = address.split_once('/').unwrap_or((address, ""));
        let log = self.names.path().join(format!("{app_id}-{http_port}.log"));
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", &self.daprd])
            .args(["--app-id", app_id])
            .args(["--app-port", &app_port.to_string()])
            .args(["--app-channel-address", "127.0.0.1"])
            .args(["--dapr-http-port", &http_port.to_string()])
            .args(["--dapr-grpc-port", &grpc_port.to_string()])
            .args(["--dapr-internal-grpc-port", &internal_port.to_string()])
            .args(["--metrics-port", &metrics_port.to_string()])
            .args(["--dapr-listen-addresses", "127.0.0.1"])
            .args(["--dapr-internal-grpc-listen-address", "127.0.0.1"])
            .args(["--metrics-listen-address", "127.0.0.1"])
            .args(["--disable-init-endpoints", "subscribe,config"])
            .args(["--read-buffer-size", "64Ki"])
            .args(["--dapr-graceful-shutdown-seconds", "3"])
            .args(["--config", &format!("{FOLDER}/configuration.yaml")])
            .args(["--resources-path", FOLDER])
            .args(["--resources-path", &format!("{FOLDER}/subscriptions")])
            .env("DAPR_HOST_IP", "127.0.0.1")
            .env("DAPR_API_TOKEN", API_TOKEN)
            .env("APP_API_TOKEN", APP_TOKEN)
            .env("SYNCLINE_REDIS_HOST", address)
            .env("SYNCLINE_REDIS_PASSWORD", password.trim_start_matches(':'))
            .env("SYNCLINE_NAMES", self.names.path().join("names.db"))
            .stdout(File::create(&log)?)
            .stderr(Stdio::null())
            .spawn()?;
        let sidecar = Sidecar { child, log, http_port, grpc_port };
        let bus = sidecar.bus()?;
        testkit::within(Duration::from_secs(20), "the sidecar is ready", || async {
            Ok(bus.ready().await)
        })
        .await;
        Ok(sidecar)
    }
}

impl Sidecar {
    /// The bus of the service beside this sidecar.
    pub(crate) fn bus(&self) -> Result<Bus, bus::Error> {
        self.bus_with(API_TOKEN, APP_TOKEN)
    }

    pub(crate) fn bus_with(&self, api_token: &str, app_token: &str) -> Result<Bus, bus::Error> {
        let config = Config {
            transport: Transport::Dapr,
            redis_url: None,
            dapr_http_port: self.http_port,
            dapr_grpc_port: self.grpc_port,
            dapr_api_token: Some(SecretString::from(api_token)),
            app_api_token: SecretString::from(app_token),
        };
        Bus::connect(&config, "beside-a-sidecar")
    }
}

impl Drop for Sidecar {
    #[expect(clippy::print_stderr, reason = "only a test that fails prints")]
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let complaints = log.lines().filter(|line| !line.contains("level=info"));
            eprintln!("the sidecar said:\n{}", complaints.collect::<Vec<_>>().join("\n"));
        }
    }
}

fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut listeners = Vec::new();
    for _ in 0..N {
        listeners.push(TcpListener::bind("127.0.0.1:0")?);
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
