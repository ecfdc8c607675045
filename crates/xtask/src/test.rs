//! `cargo x test`: every test, from nothing, stage by stage, with servers of its own.

use std::{
    path::Path,
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Result, bail};

use crate::{
    servers::ConsentArgs,
    settings::Settings,
    stages::{Stages, succeed},
    workspace,
};

mod binary;
mod world;

use binary::{Binary, Outcome, Target};
use world::World;

/// What `cargo x test` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this stage (unit, integration, tick, costs, faults, doc, or a scenario: up, converge
    /// ...); any other word runs every test that has it in its name
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    #[command(flatten)]
    consent: ConsentArgs,
}

/// The package whose tests see the system from outside.
const SYSTEM: &str = "tests";
/// The tests that are a stage of their own, or share one with a scenario: package and module. What
/// they print is shown.
const ALONE: &[(&str, &str)] =
    &[("outbox", "tick"), ("inbox", "costs"), ("inbox", "faults"), ("service-kit", "faults")];
/// Scenarios in the order in which they teach; others follow.
const SCENARIOS: &[&str] =
    &["up", "view", "find", "turns", "import", "converge", "rebuild", "faults"];
/// Scenarios that share the stage of the faults, each a fault or a border of its own.
const AMONG_FAULTS: &[&str] = &["api", "bare", "borders", "traces"];
/// The stage of the faults.
const FAULTS: &str = "faults";
/// The tests inside the packages, those of the servers that tests use among them.
const UNIT: &str = "unit";
/// The examples in the documentation.
const DOC: &str = "doc";

/// Figures that a passing test prints are part of what it shows.
const SHOW: &str = "--show-output";
/// A whole mesh takes a whole machine.
const SERIAL: &str = "--test-threads=1";

/// A stage: some tests of some binaries.
#[derive(Debug)]
struct Stage {
    name: String,
    runs: Vec<Run>,
}

/// One run of one binary.
#[derive(Debug)]
struct Run {
    binary: Binary,
    arguments: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(settings: &Settings, args: &Args) -> Result<ExitCode> {
    let root = workspace::root();
    let only = args.only.as_deref();
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let mut stages = Stages::default();
    let mut chosen = Vec::new();
    stages.run("build", || {
        let binaries = binary::build(&settings.cargo, &root)?;
        let told = format!("{} test binaries", binaries.len());
        chosen = choose(binaries, only)?;
        Ok(told)
    });
    let mut world = None;
    if !chosen.is_empty() {
        let consent = args.consent.consent(settings);
        let ready = stages.run("servers", || {
            let started = World::start(settings, consent)?;
            let told = started.to_string();
            world = Some(started);
            Ok(told)
        });
        if !ready {
            chosen.clear(); // every other stage would fail for this one reason
        }
    }
    for stage in chosen {
        let tell = |command: &mut Command| world.iter().for_each(|world| world.tell(command));
        stages.run(&stage.name, || stage.run(&tell, &interrupted));
    }
    if stages.all_well() && only.is_none_or(|only| only == DOC) {
        stages.run(DOC, || documentation(settings, &root));
    }
    drop(world);
    Ok(stages.finish("test"))
}

/// The examples in the documentation; cargo alone knows how to run them.
fn documentation(settings: &Settings, root: &Path) -> Result<String> {
    let mut cargo = Command::new(&settings.cargo);
    succeed(cargo.current_dir(root).args(["test", "--workspace", "--doc"]))?;
    Ok(String::new())
}

/// Sorts the binaries into stages and keeps what was asked for.
fn choose(binaries: Vec<Binary>, only: Option<&str>) -> Result<Vec<Stage>> {
    let is_system =
        |binary: &Binary| binary.target == Target::Integration && binary.package == SYSTEM;
    let (system, others): (Vec<_>, Vec<_>) = binaries.into_iter().partition(is_system);
    let mut scenarios = Vec::new();
    for binary in system {
        let modules = binary.modules()?;
        scenarios.extend(modules.into_iter().map(|module| (module, binary.clone())));
    }
    Ok(keep(sort(others, scenarios), only))
}

/// The stages in their order.
fn sort(others: Vec<Binary>, mut scenarios: Vec<(String, Binary)>) -> Vec<Stage> {
    let stage = |name: &str| Stage { name: name.to_owned(), runs: Vec::new() };
    let (mut unit, mut integration) = (stage(UNIT), stage("integration"));
    let mut alone: Vec<Stage> = ALONE.iter().map(|(_, module)| stage(module)).collect();
    for binary in others {
        let arguments = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        if binary.target == Target::Unit {
            unit.runs.push(Run { binary, arguments: Vec::new() });
            continue;
        }
        let mut rest = Vec::new();
        for ((package, module), stage) in ALONE.iter().zip(&mut alone) {
            if binary.package == *package {
                let tests = format!("{module}::");
                let reported = arguments(&[SHOW, SERIAL, &tests]);
                stage.runs.push(Run { binary: binary.clone(), arguments: reported });
                rest.extend(["--skip".to_owned(), tests]);
            }
        }
        integration.runs.push(Run { binary, arguments: rest });
    }
    let place = |name: &str| SCENARIOS.iter().position(|s| *s == name).unwrap_or(SCENARIOS.len());
    scenarios.sort_by_key(|(name, _)| (place(name), name.clone()));
    let scenarios = scenarios.into_iter().map(|(name, binary)| {
        let arguments = vec![SHOW.to_owned(), SERIAL.to_owned(), format!("{name}::")];
        let shares = AMONG_FAULTS.contains(&name.as_str());
        let name = if shares { FAULTS.to_owned() } else { name };
        Stage { name, runs: vec![Run { binary, arguments }] }
    });
    alone.retain(|stage| !stage.runs.is_empty());
    merge([unit, integration].into_iter().chain(alone).chain(scenarios))
}

/// Stages of one name are one, where the last of them stands.
fn merge(stages: impl Iterator<Item = Stage>) -> Vec<Stage> {
    let mut merged: Vec<Stage> = Vec::new();
    for mut stage in stages {
        if let Some(place) = merged.iter().position(|known| known.name == stage.name) {
            stage.runs.splice(0..0, merged.remove(place).runs);
        }
        merged.push(stage);
    }
    merged
}

/// All stages, or the one of this name, or of all stages the tests with this word in their name.
fn keep(mut stages: Vec<Stage>, only: Option<&str>) -> Vec<Stage> {
    let Some(only) = only else { return stages };
    if only == DOC {
        return Vec::new();
    }
    if stages.iter().any(|stage| stage.name == only) {
        stages.retain(|stage| stage.name == only);
        return stages;
    }
    let mut named = Stage { name: only.to_owned(), runs: Vec::new() };
    for run in stages.into_iter().flat_map(|stage| stage.runs) {
        if !named.runs.iter().any(|known| known.binary.path == run.binary.path) {
            let kept = run.arguments.into_iter().filter(|a| [SHOW, SERIAL].contains(&a.as_str()));
            let arguments = kept.chain([only.to_owned()]).collect();
            named.runs.push(Run { binary: run.binary, arguments });
        }
    }
    vec![named]
}

impl Stage {
    /// Runs its tests to the end, also after one has failed.
    fn run(&self, tell: &impl Fn(&mut Command), interrupted: &AtomicBool) -> Result<String> {
        let (mut sum, mut bad) = (Outcome::default(), Vec::new());
        for Run { binary, arguments } in &self.runs {
            if interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            let mut command = binary.command();
            command.args(arguments);
            tell(&mut command);
            let outcome = binary.run(&mut command, interrupted)?;
            sum.add(&outcome);
            bad.extend((!outcome.well).then(|| binary.title()));
        }
        if !bad.is_empty() {
            bail!("{} failed, {} passed: {}", sum.failed, sum.passed, bad.join(", "));
        }
        if sum.passed == 0 {
            bail!("not one test ran");
        }
        Ok(format!("{} passed, {} ignored", sum.passed, sum.ignored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(package: &str, target: Target) -> Binary {
        Binary {
            package: package.to_owned(),
            name: "it".to_owned(),
            target,
            folder: "/nowhere".into(),
            path: format!("/{package}-{target:?}").into(),
        }
    }

    fn stages() -> Vec<Stage> {
        let others = vec![
            binary("outbox", Target::Unit),
            binary("outbox", Target::Integration),
            binary("inbox", Target::Integration),
        ];
        let system = ["zebra", "faults", "up", "traces"]
            .map(|name| (name.to_owned(), binary("tests", Target::Integration)));
        sort(others, system.into())
    }

    fn names(stages: &[Stage]) -> Vec<&str> {
        stages.iter().map(|stage| stage.name.as_str()).collect()
    }

    #[test]
    fn every_test_belongs_to_one_stage_and_no_scenario_is_forgotten() {
        let stages = stages();
        let named = ["unit", "integration", "tick", "costs", "up", "faults", "zebra"];
        assert_eq!(names(&stages), named);
        assert_eq!(stages[1].runs[0].arguments, ["--skip", "tick::"]);
        assert_eq!(stages[1].runs[1].arguments, ["--skip", "costs::", "--skip", "faults::"]);
        assert_eq!(stages[2].runs[0].arguments, [SHOW, SERIAL, "tick::"]);
        assert_eq!(stages[3].runs[0].arguments, [SHOW, SERIAL, "costs::"]);
        assert_eq!(stages[6].runs[0].arguments, [SHOW, SERIAL, "zebra::"]);
    }

    #[test]
    fn tests_of_a_package_share_the_stage_of_the_scenario_of_their_name() {
        let faults = stages().into_iter().find(|stage| stage.name == "faults").unwrap();
        let packages: Vec<_> = faults.runs.iter().map(|run| run.binary.package.as_str()).collect();
        assert_eq!(packages, ["inbox", "tests", "tests"]);
        assert_eq!(faults.runs[0].arguments, faults.runs[1].arguments);
        assert_eq!(faults.runs[2].arguments, [SHOW, SERIAL, "traces::"]);
    }

    #[test]
    fn a_stage_can_be_asked_for_alone() {
        assert_eq!(names(&keep(stages(), Some("tick"))), ["tick"]);
        assert_eq!(names(&keep(stages(), Some("doc"))), [""; 0]);
    }

    #[test]
    fn another_word_is_looked_for_in_every_binary_once() {
        let kept = keep(stages(), Some("fence"));
        assert_eq!(names(&kept), ["fence"]);
        assert_eq!(kept[0].runs.len(), 4);
        assert_eq!(kept[0].runs[3].arguments, [SHOW, SERIAL, "fence"]);
    }
}
