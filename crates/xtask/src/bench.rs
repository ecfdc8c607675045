//! `cargo x bench`: builds for speed, starts servers of the run's own, and runs the benchmark.

use std::{
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    build, daprd,
    install::Consent,
    redis::Use,
    servers::{ConsentArgs, Postgres, Redis, Scratch},
    settings::Settings,
    workspace,
};

/// What `cargo x bench` may be told.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct Args {
    /// Below 10 minutes: fewer rates, shorter rounds
    #[arg(long)]
    quick: bool,
    /// Growth, many consumers, a transaction held for 10 minutes, a million changes with kills
    #[arg(long, conflicts_with = "quick")]
    long: bool,
    /// Only these scenarios, for example `steady,import`
    #[arg(long, value_name = "NAMES")]
    only: Option<String>,
    /// Rates of the open loop, changes per second, for example `1000,5000`
    #[arg(long, value_name = "RATES")]
    rates: Option<String>,
    /// Compare with what an earlier run wrote
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Where the results go
    #[arg(long, value_name = "FOLDER", default_value = ".syncline/bench")]
    out: PathBuf,
    /// Write the measured table into README.md
    #[arg(long)]
    readme: bool,
    /// A PostgreSQL to measure with instead of a private one, as superuser; on this machine
    #[arg(long, env = "BENCH_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    #[command(flatten)]
    consent: ConsentArgs,
}

/// A server as one that is used has it, and the extension that counts statements.
const POSTGRES_SETTINGS: &[&str] = &[
    "shared_buffers=1GB",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.track=all",
];

/// How often it is looked whether the benchmark has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What is built: the benchmark itself and the services that it starts.
const PACKAGES: &[&str] = &["bench", "relay", "search-indexer"];

/// Runs the command; its code is the benchmark's.
pub(crate) fn run(settings: &Settings, args: &Args) -> Result<ExitCode> {
    let root = workspace::root();
    // An interrupt is the benchmark's to answer: it ends its round and says what it has.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let programs = build::release(settings, PACKAGES)?;
    let consent = args.consent.consent(settings);
    let sidecar = daprd::find_or_build(settings).context("finding the sidecar")?.path;
    let scratch = Scratch::create()?;
    let postgres = own_postgres(settings, &scratch, consent, args)?;
    let streams = Redis::start(settings, &scratch, consent, Use::Streams)?;
    let cache = Redis::start(settings, &scratch, consent, Use::Cache)?;
    let url = match (&postgres, &args.database_url) {
        (Some(postgres), _) => postgres.url(),
        (None, url) => url.clone().unwrap_or_default(),
    };
    let program = programs.get("bench").context("cargo built no program of bench")?;
    let mut command = Command::new(program);
    command
        .arg("run")
        .args(words(args))
        .current_dir(&root)
        .env("TEST_DATABASE_URL", url)
        .env("TEST_REDIS_URL", streams.url())
        .env("BENCH_CACHE_URL", cache.url())
        .env("BENCH_COMPONENTS", root.join("components"))
        .env("BENCH_FOLDER", scratch.temporary())
        .env("DAPRD", sidecar)
        .env("TMPDIR", scratch.temporary());
    let status = wait(command.spawn().context("starting the benchmark")?, &interrupted)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Waits for the benchmark's end, and passes an interrupt on: a terminal sends it to both, others
/// to this process alone.
fn wait(mut benchmark: Child, interrupted: &AtomicBool) -> Result<ExitStatus> {
    let mut is_passed_on = false;
    loop {
        if let Some(status) = benchmark.try_wait().context("waiting for the benchmark")? {
            return Ok(status);
        }
        if interrupted.load(Ordering::Relaxed) && !is_passed_on {
            let pid = i32::try_from(benchmark.id()).ok().and_then(Pid::from_raw);
            // If it has ended meanwhile, the next look tells.
            let _ = kill_process(pid.context("a pid")?, Signal::TERM);
            is_passed_on = true;
        }
        thread::sleep(LOOK);
    }
}

fn own_postgres(
    settings: &Settings,
    scratch: &Scratch,
    consent: Consent,
    args: &Args,
) -> Result<Option<Postgres>> {
    if args.database_url.is_some() {
        return Ok(None);
    }
    Postgres::start(settings, scratch, consent, POSTGRES_SETTINGS).map(Some)
}

/// The benchmark's own arguments.
fn words(args: &Args) -> Vec<String> {
    let mut words = Vec::new();
    let flags = [("--quick", args.quick), ("--long", args.long), ("--readme", args.readme)];
    words.extend(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| (*flag).to_owned()));
    let compare = args.compare.as_ref().map(|path| path.display().to_string());
    let valued = [("--only", &args.only), ("--rates", &args.rates), ("--compare", &compare)];
    for (flag, value) in valued {
        words.extend(value.iter().flat_map(|value| [flag.to_owned(), value.clone()]));
    }
    words.extend(["--out".to_owned(), args.out.display().to_string()]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_passed_on() {
        let args = Args {
            quick: true,
            long: false,
            only: Some("import".to_owned()),
            rates: None,
            compare: Some("old.json".into()),
            out: "there".into(),
            readme: false,
            database_url: None,
            consent: ConsentArgs::default(),
        };
        let wanted = ["--quick", "--only", "import", "--compare", "old.json", "--out", "there"];
        assert_eq!(words(&args), wanted);
    }
}
