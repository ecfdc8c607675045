//! A private mesh: services, sidecars, PostgreSQL and Redis, started by the local runner.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use testkit::{Servers, Target};
use tokio_postgres::Client;

/// A running mesh of its own; stopped and forgotten when this value is dropped.
#[derive(Debug)]
pub struct Mesh {
    home: tempfile::TempDir,
    runner: PathBuf,
    http: reqwest::Client,
}

/// What `status --json` says of a mesh.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// `dapr`, `redis` or `none`.
    pub transport: String,
    /// Whether every part is ready.
    pub ready: bool,
    /// The gateway's address.
    pub url: String,
    /// The process that starts again what dies.
    pub supervisor: Option<u32>,
    /// Every process of the mesh.
    pub parts: Vec<Part>,
    /// The file with the databases' URLs.
    pub secrets: PathBuf,
}

/// One process of a mesh.
#[derive(Debug, Clone, Deserialize)]
pub struct Part {
    /// Its name, for example `search-indexer`.
    pub name: String,
    /// `service`, `sidecar`, `postgres`, `redis` or `trade`.
    pub kind: String,
    /// Whether it does its job.
    pub ready: bool,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// How often the supervisor started it again.
    pub restarts: u32,
    /// Its address over HTTP, where it has one.
    pub url: Option<String>,
}

#[derive(Deserialize)]
struct Secrets {
    app_token: String,
    databases: BTreeMap<String, String>,
    redis: Option<String>,
}

/// The part of a mesh's plan that says who listens where.
#[derive(Deserialize)]
struct Plan {
    ports: BTreeMap<String, u16>,
}

impl Mesh {
    /// Starts a mesh with these arguments of `up`, and waits until it is ready.
    pub fn up(arguments: &[&str]) -> anyhow::Result<Self> {
        let mesh = Self::new()?;
        mesh.start(arguments)?;
        Ok(mesh)
    }

    /// A mesh that is not up yet.
    pub fn new() -> anyhow::Result<Self> {
        let runner = Servers::from_env()?.runner.context("SYNCLINE_X names no runner")?;
        let home = tempfile::Builder::new().prefix("syncline-").tempdir()?;
        let timeout = Duration::from_secs(5);
        let http = reqwest::Client::builder().timeout(timeout).build()?;
        Ok(Self { home, runner: PathBuf::from(runner), http })
    }

    /// Where a part listens once it does, for example `postgres` or `gateway-sidecar.http`; a proxy
    /// before it is told so, and the mesh is started with `--via who:part=port`.
    pub fn place_of(&self, part: &str) -> Target {
        let (plan, part) = (self.home.path().join("plan.json"), part.to_owned());
        Arc::new(move || {
            let plan: Plan = serde_json::from_str(&std::fs::read_to_string(&plan)?)?;
            let port = plan.ports.get(&part).with_context(|| format!("{part} has no port"))?;
            Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))
        })
    }

    /// Starts the mesh, also again after [`Mesh::down`]; answers how long it took to be ready.
    pub fn start(&self, arguments: &[&str]) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut all = vec!["up", "--detach", "--yes"];
        all.extend(arguments);
        self.run(&all)?;
        Ok(start.elapsed())
    }

    /// Stops every process of the mesh and keeps its data.
    pub fn down(&self) -> anyhow::Result<()> {
        self.run(&["down"]).map(drop)
    }

    /// What the runner says of the mesh now.
    pub fn status(&self) -> anyhow::Result<Status> {
        let output = self.run(&["status", "--json"])?;
        serde_json::from_slice(&output.stdout).context("read the status of the mesh")
    }

    /// One process of the mesh as it is now.
    pub fn part(&self, name: &str) -> anyhow::Result<Part> {
        let part = self.status()?.parts.into_iter().find(|part| part.name == name);
        part.with_context(|| format!("the mesh has no part {name}"))
    }

    /// Ends a process at once, as a crash would (SIGKILL); the supervisor starts it again.
    pub fn kill(&self, name: &str) -> anyhow::Result<u32> {
        let pid = self.part(name)?.pid.with_context(|| format!("{name} does not run"))?;
        signal("KILL", pid).with_context(|| format!("kill {name}"))?;
        Ok(pid)
    }

    /// Ends a process and keeps it from being started again for as long as the answer is kept.
    pub fn without(&self, name: &str) -> anyhow::Result<Without> {
        let supervisor = self.status()?.supervisor.context("nobody supervises the mesh")?;
        signal("STOP", supervisor)?;
        let without = Without { _supervisor: Frozen { pid: supervisor } };
        self.kill(name)?;
        Ok(without)
    }

    /// Lets a server end in order and start again (SIGINT), as an operator does.
    pub fn restart(&self, name: &str) -> anyhow::Result<u32> {
        let pid = self.part(name)?.pid.with_context(|| format!("{name} does not run"))?;
        signal("INT", pid).with_context(|| format!("restart {name}"))?;
        Ok(pid)
    }

    /// Freezes a process (SIGSTOP) for as long as the answer is kept.
    pub fn freeze(&self, name: &str) -> anyhow::Result<Frozen> {
        let pid = self.part(name)?.pid.with_context(|| format!("{name} does not run"))?;
        signal("STOP", pid).with_context(|| format!("freeze {name}"))?;
        Ok(Frozen { pid })
    }

    /// Runs the operator's command line against this mesh; answers what it printed.
    pub fn syncline(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(self.runner.with_file_name("syncline"));
        for part in self.status()?.parts.iter().filter(|part| part.kind == "service") {
            let url = part.url.as_deref().context("a service has no address")?;
            command.args(["--service", &format!("{}={url}", part.name)]);
        }
        command.args(arguments).output().context("start syncline")
    }

    /// The address of a service.
    pub fn service(&self, name: &str) -> anyhow::Result<String> {
        self.part(name)?.url.with_context(|| format!("{name} has no address"))
    }

    /// The address of the gateway.
    pub fn url(&self) -> anyhow::Result<String> {
        Ok(self.status()?.url)
    }

    /// A client for its HTTP surface.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The URL of a service's database, as superuser.
    pub fn database_url(&self, name: &str) -> anyhow::Result<String> {
        let mut databases = self.secrets()?.databases;
        databases.remove(name).with_context(|| format!("the mesh has no database {name}"))
    }

    /// The URL of the Redis that carries changes.
    pub fn broker_url(&self) -> anyhow::Result<String> {
        self.secrets()?.redis.context("the mesh has no broker")
    }

    /// A connection to a service's database, as superuser.
    pub async fn database(&self, name: &str) -> anyhow::Result<Client> {
        testkit::connect(&self.database_url(name)?).await
    }

    /// The answer to `GET {path}` at the gateway, as JSON.
    pub async fn get(&self, base: &str, path: &str) -> anyhow::Result<serde_json::Value> {
        let response = self.http.get(format!("{base}{path}")).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }

    /// Posts to a route that only services of the mesh and its operator may use.
    pub async fn post_as_app(&self, url: &str) -> anyhow::Result<()> {
        let request = self.http.post(url).header("dapr-api-token", self.secrets()?.app_token);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// The folder with the state and the logs.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn secrets(&self) -> anyhow::Result<Secrets> {
        let text = std::fs::read_to_string(self.status()?.secrets)?;
        serde_json::from_str(&text).context("read the secrets of the mesh")
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.runner);
        let output = command.args(arguments).arg("--home").arg(self.home.path()).output()?;
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}:\n{said}", arguments.join(" "), output.status)
    }
}

/// A process that stays away; its supervisor goes on, and starts it again, when this is dropped.
#[derive(Debug)]
pub struct Without {
    _supervisor: Frozen,
}

/// A process that stands still; it goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen {
    pid: u32,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // A process that is gone needs no signal.
        let _ = signal("CONT", self.pid);
    }
}

fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status()?;
    if !sent.success() {
        bail!("process {pid} takes no {name}");
    }
    Ok(())
}

impl Drop for Mesh {
    fn drop(&mut self) {
        let stopped = self.run(&["down"]).and_then(|_| self.run(&["reset", "--yes"]));
        if let Err(error) = stopped {
            #[expect(clippy::print_stderr, reason = "a test may not panic while it ends")]
            {
                eprintln!("the mesh in {} was not stopped: {error:#}", self.home.path().display());
            }
        }
    }
}
