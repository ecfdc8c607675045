//! Stopping everything in reverse order, with patience and with an end to it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustix::process::Signal;

use super::{Supervisor, TURN, child::Running};
use crate::{
    plan::{Kind, Phase},
    progress::{self, Step},
};

impl Supervisor<'_> {
    /// Stops everything in reverse order; a second signal stops the waiting.
    pub(super) fn go_down(&mut self, result: &Result<()>) {
        self.state.phase = Phase::Stopping;
        self.state.error = result.as_ref().err().map(|error| format!("{error:#}"));
        let _ = self.write_state();
        let stages = [
            (Kind::Trade, Signal::TERM, Duration::from_secs(2)),
            (Kind::Service, Signal::TERM, Duration::from_secs(25)),
            (Kind::Sidecar, Signal::TERM, Duration::from_secs(8)),
            (Kind::Redis, Signal::TERM, Duration::from_secs(5)),
            (Kind::Postgres, Signal::INT, Duration::from_secs(30)),
        ];
        for (kind, signal, limit) in stages {
            self.stop(kind, signal, limit);
        }
        self.state.phase = if result.is_ok() { Phase::Stopped } else { Phase::Failed };
        if let Err(error) = self.write_state() {
            progress::say("state", &format!("could not be written: {error:#}"));
        }
    }

    fn stop(&mut self, kind: Kind, signal: Signal, limit: Duration) {
        let mut step = Step::begin("stopping", format!("{kind}"));
        let deadline = Instant::now() + limit;
        for running in self.running.iter_mut().rev().filter(|one| one.part.kind == kind) {
            running.again = None;
            if let Some(process) = &running.process {
                process.signal(signal);
            }
        }
        let mut hurry = false;
        while self.running.iter_mut().filter(|one| one.part.kind == kind).any(Running::is_left) {
            hurry = hurry || self.asked() || Instant::now() >= deadline;
            if hurry {
                self.kill(kind);
            }
            step.tick();
            thread::sleep(TURN);
        }
        if self.running.iter().any(|one| one.part.kind == kind && one.wanted) {
            step.done(&format!("{kind}{}", if hurry { " (killed)" } else { "" }));
        } else {
            step.drop_line();
        }
    }

    fn kill(&self, kind: Kind) {
        for running in self.running.iter().filter(|one| one.part.kind == kind) {
            if let Some(process) = &running.process {
                process.kill_group();
            }
        }
    }
}
