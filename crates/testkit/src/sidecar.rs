//! Real sidecars with the project's own component files, gone when the test is.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Servers, quiet_ports, within};

/// How often other ports are chosen after somebody else took one.
const STARTS_MAX: u32 = 3;
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../components");

/// One host: a broker, and a file in which the sidecars on it find each other.
#[derive(Debug)]
pub struct Sidecars {
    daprd: String,
    broker: String,
    components: PathBuf,
    names: TempDir,
}

/// One sidecar process; killed on drop, and with the test's thread if that dies first.
#[derive(Debug)]
pub struct Sidecar {
    child: Child,
    log: PathBuf,
    /// Where its HTTP interface listens.
    pub http_port: u16,
    /// Where its gRPC interface listens.
    pub grpc_port: u16,
    /// Where its metrics are.
    pub metrics_port: u16,
}

impl Sidecars {
    /// What services show to their sidecars.
    pub const API_TOKEN: &str = "what-services-show-to-their-sidecar";
    /// What sidecars show to their services.
    pub const APP_TOKEN: &str = "what-sidecars-show-to-their-service";

    /// Its sidecars use the Redis at this URL.
    pub fn over(redis_url: &str) -> anyhow::Result<Self> {
        let daprd = Servers::from_env()?.daprd;
        let daprd = daprd.context("`cargo x test` names a sidecar in DAPRD")?;
        let broker = redis_url.trim_start_matches("redis://").to_owned();
        Ok(Self { daprd, broker, components: PathBuf::from(FOLDER), names: TempDir::new()? })
    }

    /// The same with other component files than the project's.
    #[must_use]
    pub fn with_components(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.components);
        self
    }

    /// Starts a sidecar as `cargo x up` does, whose tests compare the flags, and waits until it can
    /// publish. Start it on the test's own thread, not inside a task.
    pub async fn start(&self, app_id: &str, app_port: u16) -> anyhow::Result<Sidecar> {
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
            .arg("--config")
            .arg(self.components.join("configuration.yaml"))
            .arg("--resources-path")
            .arg(&self.components)
            .arg("--resources-path")
            .arg(self.components.join("subscriptions"))
            .env("DAPR_HOST_IP", "127.0.0.1")
            .env("DAPR_API_TOKEN", Self::API_TOKEN)
            .env("APP_API_TOKEN", Self::APP_TOKEN)
            .env("SYNCLINE_REDIS_HOST", address)
            .env("SYNCLINE_REDIS_PASSWORD", password.trim_start_matches(':'))
            .env("SYNCLINE_NAMES", self.names.path().join("names.db"))
            .stdout(File::create(&log)?)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Sidecar { child, log, http_port, grpc_port, metrics_port })
    }
}

impl Sidecar {
    /// Waits until it can publish, or has ended instead, as it does where another has a port.
    async fn is_up(&mut self) -> anyhow::Result<bool> {
        let (child, port) = (&mut self.child, self.http_port);
        within(READY_TIMEOUT, "the sidecar is ready or has ended", || {
            let ended = child.try_wait();
            async move {
                let greeted = timeout(GREETING_TIMEOUT, publishes(port));
                Ok(ended?.is_some() || greeted.await??)
            }
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

/// Whether a sidecar there could publish; whether its app answers is another question.
async fn publishes(port: u16) -> anyhow::Result<bool> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let question = "GET /v1.0/healthz/outbound HTTP/1.1\r\nhost: sidecar\r\n\r\n";
    connection.write_all(question.as_bytes()).await?;
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await?;
    Ok(answer == *b"HTTP/1.1 204")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::RedisServer;

    #[tokio::test]
    async fn a_sidecar_that_finds_a_port_taken_has_ended() -> anyhow::Result<()> {
        let server = RedisServer::streams().await?;
        let host = Sidecars::over(&server.url())?;
        let ports = quiet_ports()?;
        let taken = TcpListener::bind(("127.0.0.1", ports[1])).await?;
        let mut sidecar = host.spawn("relay", 1, ports)?;
        assert!(!sidecar.is_up().await?);
        drop(taken);
        let mut sidecar = host.spawn("relay", 1, ports)?;
        assert!(sidecar.is_up().await?);
        Ok(())
    }
}
