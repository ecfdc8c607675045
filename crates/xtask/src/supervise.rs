//! The supervisor: one process that owns all others, starts what dies again and stops all in order.
//!
//! Whatever ends it, its children end too: each is tied to the thread that runs [`run`].

mod child;
mod stopping;
mod waiting;

use std::{
    fs,
    process::{ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use self::child::Running;
use crate::{
    home::{self, Home, HomeArgs},
    mesh::{SERVICES, Transport},
    parts::{self, Parts},
    plan::{Kind, PartState, Phase, Plan, State},
    ports, postgres,
    process::Identity,
    progress,
    secrets::{SUPERUSER, Secrets},
    settings::Settings,
};

/// How often children are looked after.
const TURN: Duration = Duration::from_millis(30);
/// What `cargo x supervise` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    home: HomeArgs,
}

/// Runs as the supervisor of a home in a session of its own; `up --detach` starts this.
pub(crate) fn run(_settings: &Settings, args: &Args) -> Result<ExitCode> {
    // It fails only where the session is its own already.
    let _ = rustix::process::setsid();
    let home = args.home.home()?;
    Ok(if supervise(&home).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Brings the mesh of a home up by its plan, keeps it up until a signal comes, and takes it down.
pub(crate) fn supervise(home: &Home) -> Result<()> {
    let charge = home.take_charge()?;
    // From here on no signal ends this process; each is looked at between two turns.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listening for signals")?;
    sweep(home)?;
    let mut plan = Plan::read(home)?.context("there is no plan of what is to run")?;
    let allotted = ports::allot(plan.transport, plan.port_offset, &plan.ports)?;
    plan.ports.clone_from(&allotted.ports);
    home::write(&home.plan_file(), &plan)?;
    let secrets = Secrets::open(home, &plan.ports)?;
    let own = Identity::of(std::process::id()).context("finding this process")?;
    let mut supervisor = Supervisor {
        parts: Parts { home, plan: &plan, secrets: &secrets },
        running: parts::of(&plan)?.into_iter().map(Running::new).collect(),
        signals,
        state: State { phase: Phase::Starting, error: None, supervisor: own, parts: Vec::new() },
        changed: true,
    };
    let ended = supervisor.come_up().and_then(|()| supervisor.keep_up());
    let result = match ended {
        Err(Halt::Asked) | Ok(()) => Ok(()),
        Err(Halt::Failed(error)) => Err(error),
    };
    supervisor.go_down(&result);
    drop((allotted, charge));
    result
}

/// Ends what a supervisor that died may have left behind.
pub(crate) fn sweep(home: &Home) -> Result<()> {
    let Some(state) = State::read(home)? else { return Ok(()) };
    let mut left: Vec<(Kind, Identity)> = state
        .parts
        .into_iter()
        .filter_map(|part| Some((part.kind, part.process?)))
        .filter(|(_, process)| process.is_alive())
        .collect();
    left.sort_by_key(|(kind, _)| std::cmp::Reverse(*kind));
    for (kind, process) in left {
        process.signal(if kind == Kind::Postgres { Signal::INT } else { Signal::TERM });
        if !process.wait_gone(Duration::from_secs(25)) {
            process.kill_group();
            process.wait_gone(Duration::from_secs(5));
        }
    }
    Ok(())
}

/// Why the mesh does not go on.
enum Halt {
    /// Somebody asked it to stop.
    Asked,
    /// Something went wrong.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Halt {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

struct Supervisor<'a> {
    parts: Parts<'a>,
    running: Vec<Running>,
    signals: Signals,
    state: State,
    changed: bool,
}

impl Supervisor<'_> {
    fn come_up(&mut self) -> Result<(), Halt> {
        self.write_state()?;
        self.initialise()?;
        self.start(Kind::Postgres)?;
        self.start(Kind::Redis)?;
        self.wait_ready(Kind::Postgres)?;
        self.set_up_databases()?;
        self.migrate()?;
        self.wait_ready(Kind::Redis)?;
        if self.parts.plan.transport == Transport::Dapr {
            // Sidecars of an earlier start listened elsewhere.
            for end in ["", "-wal", "-shm", "-journal"] {
                let mut file = self.parts.names_file().into_os_string();
                file.push(end);
                let _ = fs::remove_file(file);
            }
            self.start(Kind::Sidecar)?;
        }
        self.start(Kind::Service)?;
        self.wait_ready(Kind::Service)?;
        if self.parts.plan.transport == Transport::Dapr {
            self.wait_ready(Kind::Sidecar)?;
        }
        self.start(Kind::Trade)?;
        self.state.phase = Phase::Up;
        self.changed = true;
        Ok(())
    }

    fn keep_up(&mut self) -> Result<(), Halt> {
        loop {
            self.turn()?;
            thread::sleep(TURN);
        }
    }

    /// Looks at every child and every signal once.
    fn turn(&mut self) -> Result<(), Halt> {
        for index in 0..self.running.len() {
            self.look_after(index)?;
        }
        if self.changed {
            self.write_state()?;
        }
        if self.asked() { Err(Halt::Asked) } else { Ok(()) }
    }

    fn look_after(&mut self, index: usize) -> Result<()> {
        let Some(running) = self.running.get_mut(index) else { return Ok(()) };
        if let Some(end) = running.reap() {
            let wait = running.schedule();
            let told = format!("ended ({end}), again in {}", progress::duration(wait));
            progress::say(&running.part.name, &told);
            self.changed = true;
        } else if running.again.is_some_and(|again| again <= Instant::now()) {
            self.spawn(index)?;
        }
        Ok(())
    }

    fn asked(&mut self) -> bool {
        self.signals.pending().next().is_some()
    }

    fn start(&mut self, kind: Kind) -> Result<()> {
        for index in 0..self.running.len() {
            if self.running.get(index).is_some_and(|running| running.part.kind == kind) {
                self.spawn(index)?;
            }
        }
        self.write_state()
    }

    fn spawn(&mut self, index: usize) -> Result<()> {
        let Some(running) = self.running.get_mut(index) else { return Ok(()) };
        let name = &running.part.name;
        let log = self.parts.home.open_log(name)?;
        let mut command = self.parts.command(&running.part)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        running.process = Identity::of(child.id());
        running.child = Some(child);
        running.since = Instant::now();
        running.again = None;
        running.wanted = true;
        self.changed = true;
        Ok(())
    }

    fn write_state(&mut self) -> Result<()> {
        self.state.parts = self
            .running
            .iter()
            .map(|running| PartState {
                name: running.part.name.clone(),
                kind: running.part.kind,
                port: running.part.port,
                process: running.process.clone(),
                restarts: running.restarts,
            })
            .collect();
        home::write(&self.parts.home.state_file(), &self.state)?;
        self.changed = false;
        Ok(())
    }

    fn initialise(&mut self) -> Result<(), Halt> {
        let plan = &self.parts.plan.postgres;
        let password = self.parts.secrets.password(SUPERUSER)?;
        if let Some(command) = postgres::preparation(plan, password)? {
            self.step("postgres", "makes its data folder (once)", "initdb", command)?;
            postgres::settle(plan)?;
        }
        Ok(())
    }

    fn set_up_databases(&mut self) -> Result<(), Halt> {
        let script = postgres::setup_script(self.parts.secrets)?;
        let path = self.parts.home.path("setup.sql");
        // It holds passwords, so it is closed to others and gone at once.
        home::write_text(&path, &script)?;
        let port = self.parts.plan.port("postgres")?;
        let password = self.parts.secrets.password(SUPERUSER)?;
        let mut command = postgres::psql(&self.parts.plan.postgres.bin, port, password);
        command.arg("-f").arg(&path);
        let names: Vec<&str> =
            SERVICES.iter().filter(|one| one.has_database()).map(|one| one.name).collect();
        let result = self.step("databases", &names.join(", "), "databases", command);
        let _ = fs::remove_file(&path);
        result
    }

    fn migrate(&mut self) -> Result<(), Halt> {
        for service in SERVICES.iter().filter(|one| one.has_database()) {
            let log = format!("{}-migrate", service.name);
            let command = self.parts.migration(service)?;
            self.step("migrated", service.name, &log, command)?;
        }
        Ok(())
    }
}
