//! `cargo x status`: the state of every part, as it is now.

use std::{path::PathBuf, process::ExitCode, thread};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    home::{Home, HomeArgs},
    live,
    parts::{self, Part, Parts},
    plan::{Kind, PartState, Phase, Plan, State},
    progress::{self, print_line},
    secrets::Secrets,
    settings::Settings,
};

/// What `cargo x status` may be told.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Args {
    #[command(flatten)]
    home: HomeArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Go on with a line about how fast changes travel, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// A mesh as `status --json` shows it; secrets stay in a file of their own.
#[derive(Debug, Serialize)]
struct Status {
    transport: String,
    ready: bool,
    phase: Phase,
    error: Option<String>,
    home: PathBuf,
    url: String,
    postgres_data: PathBuf,
    secrets: PathBuf,
    supervisor: Option<i32>,
    parts: Vec<PartStatus>,
}

#[derive(Debug, Serialize)]
struct PartStatus {
    name: String,
    kind: Kind,
    state: &'static str,
    ready: bool,
    why: Option<String>,
    port: u16,
    pid: Option<i32>,
    restarts: u32,
    url: Option<String>,
    log: PathBuf,
}

/// Says how every part is.
pub(crate) fn run(_settings: &Settings, args: &Args) -> Result<ExitCode> {
    let home = args.home.home()?;
    match look(&home)? {
        Some(status) if args.json => print_line(&serde_json::to_string_pretty(&status)?),
        Some(status) => {
            print(&home, &status);
            if args.watch {
                let plan = Plan::read(&home)?.context("the plan is gone")?;
                live::show(&plan, || !home.is_supervised());
            }
        }
        None if args.json => {
            let nothing = serde_json::json!({ "ready": false, "home": home.root(), "parts": [] });
            print_line(&nothing.to_string());
        }
        None => {
            progress::say("status", &format!("never up; start it with: {}", home.command("up")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks every part at once; nothing if the home was never up.
fn look(home: &Home) -> Result<Option<Status>> {
    let Some(plan) = Plan::read(home)? else { return Ok(None) };
    let supervised = home.is_supervised();
    let state = State::read(home)?;
    let secrets = Secrets::read(home)?;
    // Before its first start a plan has no ports yet.
    let Ok(parts) = parts::of(&plan) else { return Ok(None) };
    let shown: Vec<PartStatus> = thread::scope(|scope| {
        let asked: Vec<_> = parts
            .iter()
            .map(|part| {
                let known = state
                    .as_ref()
                    .and_then(|state| state.parts.iter().find(|known| known.name == part.name));
                let all = secrets.as_ref().map(|secrets| Parts { home, plan: &plan, secrets });
                scope.spawn(move || part_status(home, part, known, all))
            })
            .collect();
        asked.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let phase = match &state {
        Some(state) if supervised || state.phase == Phase::Failed => state.phase,
        Some(_) | None => Phase::Stopped,
    };
    let ready = supervised && phase == Phase::Up && shown.iter().all(|part| part.ready);
    Ok(Some(Status {
        transport: plan.transport.to_string(),
        ready,
        phase,
        error: state.as_ref().and_then(|state| state.error.clone()),
        home: home.root().to_path_buf(),
        url: plan.url()?,
        postgres_data: plan.postgres.data.clone(),
        secrets: home.secrets_file(),
        supervisor: state.filter(|_| supervised).map(|state| state.supervisor.pid),
        parts: shown,
    }))
}

fn part_status(
    home: &Home,
    part: &Part,
    known: Option<&PartState>,
    all: Option<Parts<'_>>,
) -> PartStatus {
    let process = known.and_then(|known| known.process.as_ref()).filter(|one| one.is_alive());
    let answer = match (process, all) {
        (Some(_), Some(all)) => all.ready(part),
        (_, _) => Err("does not run".to_owned()),
    };
    let state = match (process, &answer) {
        (None, _) if home.is_supervised() && known.is_some() => "restarting",
        (None, _) => "stopped",
        (Some(_), Ok(())) => "ready",
        (Some(_), Err(_)) => "running",
    };
    PartStatus {
        name: part.name.clone(),
        kind: part.kind,
        state,
        ready: answer.is_ok(),
        why: answer.err(),
        port: part.port,
        pid: process.map(|process| process.pid),
        restarts: known.map_or(0, |known| known.restarts),
        url: part.url(),
        log: home.log(&part.name),
    }
}

fn print(home: &Home, status: &Status) {
    let ready = if status.ready { "ready" } else { "not ready" };
    let phase = serde_json::to_string(&status.phase).unwrap_or_default();
    let phase = phase.trim_matches('"');
    progress::say("mesh", &format!("{ready} ({phase}), transport {}", status.transport));
    progress::say("home", &status.home.display().to_string());
    progress::say("postgres data", &status.postgres_data.display().to_string());
    progress::say("url", &status.url);
    print_line("");
    print_line(&row("part", "state", ["port", "pid", "restarts"], "why not"));
    for part in &status.parts {
        let pid = part.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let why = part.why.as_deref().filter(|_| part.pid.is_some()).unwrap_or_default();
        let port = if part.port == 0 { "-".to_owned() } else { part.port.to_string() };
        let numbers = [&port, &pid, &part.restarts.to_string()];
        print_line(&row(&part.name, part.state, numbers.map(String::as_str), why));
    }
    if let Some(error) = &status.error {
        print_line(&format!("\n  {error}"));
    }
    let unready =
        status.parts.iter().find(|part| !part.ready).filter(|_| status.supervisor.is_some());
    match unready {
        Some(part) => {
            let logs = home.command(&format!("logs {}", part.name));
            print_line(&format!("\n  see: {logs}"));
        }
        None if status.ready => {}
        None => print_line(&format!("\n  start it with: {}", home.command("up"))),
    }
}

fn row(name: &str, state: &str, [port, pid, restarts]: [&str; 3], why: &str) -> String {
    let row = format!("  {name:<24} {state:<10} {port:>6} {pid:>8} {restarts:>9}  {why}");
    row.trim_end().to_owned()
}
