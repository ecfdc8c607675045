//! A whole run: the plan, carried out lane by lane in interleaved rounds.
#![expect(clippy::print_stdout, reason = "a run says what it does and what came of it")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use chrono::Utc;
use tokio::signal::unix::{SignalKind, signal};

use crate::figures::{FORMAT, Lane, Machine, Run, State};
use crate::meter::servers;
use crate::place::Place;
use crate::plan::{Plan, Wanted};
use crate::rounds::{End, Rounds};
use crate::{machine, report, session, targets};

/// The code of a run that says no number.
const INVALID: u8 = 3;
/// Room for the databases, the streams and what is built, in MiB.
const DISK_MIB_MIN: u64 = 6_000;

/// What a run is to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    wanted: Wanted,
    /// Compare with what an earlier run wrote; ends with 3 if the runs differ and the machine does
    /// too.
    #[arg(long)]
    compare: Option<PathBuf>,
    /// Where the results go.
    #[arg(long, default_value = ".syncline/bench")]
    out: PathBuf,
    /// Write the measured table into README.md.
    #[arg(long)]
    readme: bool,
}

/// Runs it; an interrupt ends it with what there is by then.
pub async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let plan = Plan::of(&settings.wanted)?;
    let old = settings.compare.as_deref().map(report::load).transpose()?;
    check(settings)?;
    let (began_at, began) = (Utc::now(), Instant::now());
    let place = &settings.place;
    let machine = Machine::read(&place.folder)?;
    let versions = machine::versions(&place.database_url, &place.redis_url, &place.daprd).await?;
    println!("{} cpus, {}, fdatasync {:.2} ms", machine.cpus, machine.cpu, machine.fdatasync_ms);
    let mut rounds = Rounds::begin(&plan, &servers(place).await?)?;
    let end = tokio::select! {
        end = carry_out(place, &plan, &mut rounds) => end?,
        interrupted = interrupted() => { interrupted?; End::Broken("interrupted".to_owned()) }
    };
    let (rounds, is_complete) = rounds.finish();
    let (state, reason) = match end {
        End::Invalid(reason) => (State::Invalid, Some(reason)),
        End::Broken(reason) => (State::Partial, Some(reason)),
        End::Done if is_complete => (State::Complete, None),
        End::Done if rounds.iter().all(|round| round.discarded.is_some()) => {
            (State::Invalid, Some("no round was clean".to_owned()))
        }
        End::Done => (State::Partial, Some("some scenarios have too few clean rounds".to_owned())),
    };
    let targets = targets::evaluate(&machine, &rounds);
    let run = Run {
        format: FORMAT,
        began_at,
        took_s: began.elapsed().as_secs_f64(),
        mode: plan.mode.to_owned(),
        state,
        reason,
        machine,
        versions,
        rounds,
        targets,
    };
    tell(settings, &run, old.as_ref())
}

/// Everything of the plan, lane after lane, round after round, until all rounds are clean.
async fn carry_out(place: &Place, plan: &Plan, rounds: &mut Rounds) -> anyhow::Result<End> {
    while rounds.next_round() {
        for lane in [Lane::Direct, Lane::Dapr, Lane::PlainDapr] {
            let items = rounds.wanted(plan, lane);
            if items.is_empty() {
                continue;
            }
            let carried = match lane {
                Lane::PlainDapr => Box::pin(session::plain(place, plan, &items, rounds)).await,
                Lane::Direct | Lane::Dapr => {
                    Box::pin(session::syncline(place, plan, (lane, &items), rounds)).await
                }
            };
            if let Err(error) = carried {
                return Ok(End::Broken(format!("{}: {error:#}", lane.name())));
            }
            if let Some(reason) = rounds.invalid() {
                return Ok(End::Invalid(reason));
            }
        }
    }
    Ok(End::Done)
}

/// What would spoil a run is said before it.
fn check(settings: &Settings) -> anyhow::Result<()> {
    let place = &settings.place;
    anyhow::ensure!(
        machine::is_local(&place.database_url)?,
        "the database is not on this machine, so what it costs could not be measured"
    );
    let free = machine::free_mib(&place.folder)?;
    anyhow::ensure!(
        free >= DISK_MIB_MIN,
        "{} has {free} MiB left, and a run may need {DISK_MIB_MIN}",
        place.folder.display()
    );
    std::fs::create_dir_all(&settings.out)
        .with_context(|| format!("making {}", settings.out.display()))
}

async fn interrupted() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.context("waiting for an interrupt"),
        _ = terminated.recv() => Ok(()),
    }
}

/// Prints and stores what came of a run.
fn tell(settings: &Settings, run: &Run, old: Option<&Run>) -> anyhow::Result<ExitCode> {
    println!("\n{}", report::terminal(run));
    report::save(run, &settings.out.join("latest.json"))?;
    std::fs::write(settings.out.join("latest.md"), report::markdown(run))?;
    for plot in report::plots(run) {
        std::fs::write(settings.out.join(plot.name), plot.svg)?;
    }
    println!("written to {}", settings.out.display());
    let compared = old.map(|old| report::compare(old, run));
    match &compared {
        Some(Ok(comparison)) => println!("\n{}", comparison.text()),
        Some(Err(error)) => println!("\nnot compared: {error:#}"),
        None => {}
    }
    if settings.readme && run.state != State::Complete {
        println!("README.md is left as it is: only a complete run goes into it");
    } else if settings.readme {
        let text = std::fs::read_to_string("README.md").context("reading README.md")?;
        let (begin, end) = ("<!-- bench: begin -->", "<!-- bench: end -->");
        let text = report::replace_section(&text, begin, end, &report::readme(run)?)?;
        std::fs::write("README.md", text).context("writing README.md")?;
    }
    Ok(match run.state {
        State::Complete if matches!(compared, Some(Ok(it)) if it.is_invalid()) => INVALID.into(),
        State::Complete => ExitCode::SUCCESS,
        State::Partial => ExitCode::FAILURE,
        State::Invalid => ExitCode::from(INVALID),
    })
}
