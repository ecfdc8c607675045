//! Real sidecars with the project's own component files, gone when the test is.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use bus::{Bus, Config, Transport};
use secrecy::SecretString;
use tempfile::TempDir;
use testkit::{RedisServer, Servers, quiet_ports};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) const API_TOKEN: &str = "what-services-show-to-their-sidecar";
pub(crate) const APP_TOKEN: &str = "what-sidecars-show-to-their-service";
/// How often other ports are chosen after somebody else took one.
const STARTS_MAX: u32 = 3;
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
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        self.services.spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        });
        Ok(port)
    }

    /// Starts a sidecar as `cargo x up` does, whose tests compare the flags, and waits until it can
    /// publish through it.
    pub(crate) async fn sidecar(&self, app_id: &str, app_port: u16) -> anyhow::Result<Sidecar> {
        for _ in 0..STARTS_MAX {
            let mut sidecar = self.spawn(app_id, app_port, quiet_ports()?)?;
            if sidecar.is_up().await? {
                return Ok(sidecar);
            }
        }
        anyhow::bail!("the sidecar of {app_id} ended {STARTS_MAX} times at its start")
    }

    fn spawn(&self, app_id: &str, app_port: u16, ports: [u16; 4]) -> anyhow::Result<Sidecar> {
        let [http_port, grpc_port, internal_port, metrics_port] = ports;
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
        Ok(Sidecar { child, log, http_port, grpc_port })
    }
}

impl Sidecar {
    /// Waits until it can publish, or has ended instead, as it does where another has a port.
    async fn is_up(&mut self) -> anyhow::Result<bool> {
        let bus = self.bus()?;
        let child = &mut self.child;
        testkit::within(Duration::from_secs(20), "the sidecar is ready or has ended", || {
            let ended = child.try_wait();
            let ready = bus.ready();
            async move { Ok(ended?.is_some() || ready.await) }
        })
        .await;
        let is_up = self.child.try_wait()?.is_none();
        if !is_up {
            self.print_log();
        }
        Ok(is_up)
    }

    #[expect(clippy::print_stderr, reason = "only a sidecar that fails prints")]
    fn print_log(&self) {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let complaints = log.lines().filter(|line| !line.contains("level=info"));
        eprintln!("the sidecar said:\n{}", complaints.collect::<Vec<_>>().join("\n"));
    }

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
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.print_log();
        }
    }
}

#[tokio::test]
async fn a_sidecar_that_finds_a_port_taken_has_ended() -> anyhow::Result<()> {
    let server = RedisServer::streams().await?;
    let host = Host::new(&server.url())?;
    let ports = quiet_ports()?;
    let taken = TcpListener::bind(("127.0.0.1", ports[1])).await?;
    let mut sidecar = host.spawn("relay", 1, ports)?;
    assert!(!sidecar.is_up().await?);
    drop(taken);
    let mut sidecar = host.spawn("relay", 1, ports)?;
    assert!(sidecar.is_up().await?);
    Ok(())
}
