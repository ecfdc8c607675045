//! `cargo x down`: stops a mesh and leaves its data.

use std::{process::ExitCode, thread, time::Duration};

use anyhow::{Result, bail};
use rustix::process::Signal;

use crate::{
    home::{Home, HomeArgs},
    plan::State,
    progress::{self, Step},
    settings::Settings,
    supervise,
};

/// How long a mesh may take to stop; the supervisor's own limits end before.
const PATIENCE: Duration = Duration::from_secs(90);

/// What `cargo x down` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    home: HomeArgs,
}

/// Stops the mesh of a home.
pub(crate) fn run(_settings: &Settings, args: &Args) -> Result<ExitCode> {
    let home = args.home.home()?;
    if stop(&home)? {
        progress::say("data", &format!("stay in {}", home.root().display()));
    } else {
        progress::say("down", &format!("nothing runs in {}", home.root().display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops the mesh of a home; says whether there was one.
pub(crate) fn stop(home: &Home) -> Result<bool> {
    let Some(state) = State::read(home)? else {
        if home.is_supervised() {
            bail!("a supervisor is just starting in {}; try again", home.root().display());
        }
        return Ok(false);
    };
    let was_up = home.is_supervised() && state.supervisor.is_alive();
    if was_up {
        let mut step = Step::begin("stopping", "services, sidecars, Redis, PostgreSQL");
        state.supervisor.signal(Signal::TERM);
        let deadline = std::time::Instant::now() + PATIENCE;
        while state.supervisor.is_alive() {
            if std::time::Instant::now() >= deadline {
                step.doing("the supervisor does not answer: ending it");
                state.supervisor.kill_group();
                state.supervisor.wait_gone(Duration::from_secs(5));
            }
            step.tick();
            thread::sleep(Duration::from_millis(30));
        }
        step.done("all parts");
    }
    supervise::sweep(home)?;
    Ok(was_up)
}
