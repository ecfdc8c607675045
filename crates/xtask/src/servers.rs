//! Private servers for checks and tests: a PostgreSQL and a Redis of their own, ended with them.
//!
//! Their data lie in a folder that is forgotten at the end, or at the next start if the end was
//! not clean. PostgreSQL keeps its durable settings, since tests kill it and count what is left.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::{
    down,
    home::Home,
    install::{self, Consent},
    plan::PostgresPlan,
    postgres,
    process::Identity,
    redis::{self, Use},
    secrets::{self, SUPERUSER},
    settings::Settings,
    workspace,
};

/// How long a server may take to answer its first question, and to end.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// The folder for files of those who use the servers.
const TEMPORARY: &str = "tmp";

/// Settings for many tests at a time, besides those of every PostgreSQL of ours.
pub(crate) const FOR_TESTS: &[&str] = &["max_connections=300", "max_prepared_transactions=50"];

/// Whether servers may be brought without asking.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ConsentArgs {
    /// Install what is missing without asking; CI never asks
    #[arg(long)]
    yes: bool,
}

impl ConsentArgs {
    /// What the user, or CI, has agreed to.
    pub(crate) fn consent(&self, settings: &Settings) -> Consent {
        if self.yes || settings.is_ci() { Consent::Given } else { Consent::Ask }
    }
}

/// A folder that is forgotten with this value.
#[derive(Debug)]
pub(crate) struct Scratch {
    home: Home,
}

impl Scratch {
    /// Makes a folder of this process' own, and forgets those whose process is gone.
    pub(crate) fn create() -> Result<Self> {
        let folder = workspace::root().join(".syncline").join("scratch");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        for entry in
            fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?
        {
            let entry = entry?;
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if pid.is_none_or(|pid| Identity::of(pid).is_none()) {
                forget(&Home::at(entry.path()));
            }
        }
        let home = Home::at(folder.join(std::process::id().to_string()));
        home.create()?;
        let scratch = Self { home };
        fs::create_dir(scratch.temporary()).context("making a folder for temporary files")?;
        Ok(scratch)
    }

    /// Where those who use the servers put their own files; meshes that they leave behind in it
    /// are stopped.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.home.path(TEMPORARY)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        forget(&self.home);
    }
}

/// What cannot be removed now is removed at the next start.
fn forget(home: &Home) {
    let left = fs::read_dir(home.path(TEMPORARY)).into_iter().flatten().flatten();
    for path in left.filter_map(|entry| entry.path().canonicalize().ok()) {
        let mesh = Home::at(path);
        if mesh.plan_file().exists() {
            let _ = down::stop(&mesh);
            let _ = fs::remove_dir_all(postgres::outside_path(&mesh));
        }
    }
    let _ = fs::remove_dir_all(postgres::outside_path(home));
    let _ = fs::remove_dir_all(home.root());
}

/// A private PostgreSQL.
#[derive(Debug)]
pub(crate) struct Postgres {
    _server: Server,
    plan: PostgresPlan,
    port: u16,
    password: String,
}

impl Postgres {
    /// Finds or installs PostgreSQL and starts one with these settings; the folder must outlive it.
    pub(crate) fn start(
        settings: &Settings,
        scratch: &Scratch,
        consent: Consent,
        own: &[&str],
    ) -> Result<Self> {
        let found = install::postgres(settings, None, consent)?;
        let plan = postgres::place(&scratch.home, found.path)?;
        let (port, password) = (free_port()?, secrets::draw()?);
        let log = scratch.home.log("postgres");
        postgres::initialise(&plan, &password, &log)?;
        let mut command = postgres::server(&plan, port);
        for setting in own {
            command.args(["-c", setting]);
        }
        let mut server = Server::start(command, log, Signal::INT)?;
        server.until(|| postgres::answers(&plan, port, &password))?;
        Ok(Self { _server: server, plan, port, password })
    }

    /// Its address, as superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    /// Its client, as superuser, in the database `postgres` unless another is named.
    pub(crate) fn psql(&self) -> Command {
        postgres::psql(&self.plan.bin, self.port, &self.password)
    }
}

/// A private Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    _server: Server,
    program: PathBuf,
    port: u16,
    password: String,
}

impl Redis {
    /// Finds or installs Redis and starts one; the folder must outlive it.
    pub(crate) fn start(
        settings: &Settings,
        scratch: &Scratch,
        consent: Consent,
        usage: Use,
    ) -> Result<Self> {
        let found = install::redis(settings, consent)?;
        let (port, password) = (free_port()?, secrets::draw()?);
        let command = redis::server(&scratch.home, &found.path, (usage, port), &password)?;
        let mut server = Server::start(command, scratch.home.log(usage.part()), Signal::TERM)?;
        server.until(|| redis::answers(port, &password))?;
        Ok(Self { _server: server, program: found.path, port, password })
    }

    /// Its program, for tests that kill their own.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", self.password, self.port)
    }
}

/// A process that ends with this value, and with the thread that started it.
#[derive(Debug)]
struct Server {
    child: Child,
    log: PathBuf,
    stop: Signal,
}

impl Server {
    fn start(mut command: Command, log: PathBuf, stop: Signal) -> Result<Self> {
        let file = fs::File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child, log, stop })
    }

    fn until(&mut self, answers: impl Fn() -> Result<(), String>) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while let Err(why) = answers() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("the server does not answer: {why}\n{}", log.trim());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = Identity::of(self.child.id()) {
            process.signal(self.stop);
            if !process.wait_gone(STOP_LIMIT) {
                process.kill_group();
            }
        }
        let _ = self.child.wait(); // it is gone: this only takes its entry from the table
    }
}

/// A port that nobody listens on at this moment.
fn free_port() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}
