//! `cargo x up`: from nothing to a running mesh.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Profile},
    daprd,
    home::{self, Home, HomeArgs},
    install, live, machine,
    mesh::Transport,
    plan::{Phase, Plan, SetSetting, State, Via},
    postgres,
    progress::{self, Step},
    sample,
    servers::ConsentArgs,
    settings::Settings,
    supervise, trade,
};

/// Enough to see something move, and not to be heard by the machine.
const TRAFFIC: u32 = 5;

/// How long the sample may take to be seen everywhere before the mesh is shown all the same.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(60);

/// A consumer hears of new heads within 300 ms, so nothing is left when nothing was for longer.
const QUIET_LOOKS: u32 = 5;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What `cargo x up` may be told.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Args {
    #[command(flatten)]
    home: HomeArgs,
    /// Return when all is ready, and leave the mesh running
    #[arg(long)]
    detach: bool,
    /// Load nothing, and let nothing flow
    #[arg(long)]
    empty: bool,
    /// Writes per second of the small trade that flows once the sample is there; 0 for none
    /// [default: 5]
    #[arg(long, value_name = "N", conflicts_with = "empty")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=trade::RATE_MAX))]
    traffic: Option<u32>,
    /// How changes travel: through sidecars and a broker, over Redis Streams without sidecars, or
    /// by the relay's feed alone
    #[arg(long, value_enum, default_value_t = Transport::Dapr)]
    transport: Transport,
    #[command(flatten)]
    consent: ConsentArgs,
    /// Add this to every documented port
    #[arg(long, value_name = "N", default_value_t = 0)]
    port_offset: u16,
    /// A setting of one service, added or overridden; may be given many times
    #[arg(long, value_name = "SERVICE.NAME=VALUE")]
    set: Vec<SetSetting>,
    /// A way between two parts that leads to another port on this host, for tests that disturb it
    #[arg(long, hide = true, value_name = "PART:PART=PORT")]
    via: Vec<Via>,
    /// Build the services to run fast, which takes longer
    #[arg(long, conflicts_with = "no_build")]
    release: bool,
    /// Take the services' programs that lie beside this one
    #[arg(long, env = "SYNCLINE_NO_BUILD", hide_env = true)]
    no_build: bool,
}

/// Brings the mesh up and says where to look.
pub(crate) fn run(settings: &Settings, args: &Args) -> Result<ExitCode> {
    let begun = Instant::now();
    let home = args.home.home()?;
    progress::say("home", &home.root().display().to_string());
    home.create()?;
    if home.is_supervised() {
        return already_up(&home, args);
    }
    let plan = plan(settings, args, &home)?;
    home::write(&home.plan_file(), &plan)?;
    home.turn_logs()?;
    let _ = fs::remove_file(home.state_file().with_extension("json.new"));
    if args.detach { detached(&home, args, begun) } else { attached(&home, args, begun) }
}

fn already_up(home: &Home, args: &Args) -> Result<ExitCode> {
    let plan = Plan::read(home)?.context("a supervisor runs without a plan")?;
    let others = differences(&plan, args);
    if !others.is_empty() {
        let others = others.join(", ");
        bail!("this mesh is up with {others}; first stop it with: {}", home.command("down"));
    }
    let up = State::read(home)?.is_some_and(|state| state.phase == Phase::Up);
    progress::say("up", if up { "this mesh is up already" } else { "this mesh is coming up" });
    let said = fs::metadata(home.log("supervisor")).map_or(0, |log| log.len());
    wait_ready(home, None, if up { said } else { 0 })?;
    say_where(home, &plan)?;
    Ok(ExitCode::SUCCESS)
}

/// What a running mesh does in another way than it is asked for now.
fn differences(plan: &Plan, args: &Args) -> Vec<String> {
    let mut others = Vec::new();
    if plan.transport != args.transport {
        others.push(format!("transport {}", plan.transport));
    }
    if plan.port_offset != args.port_offset {
        others.push(format!("port offset {}", plan.port_offset));
    }
    if args.traffic.is_some_and(|traffic| traffic != plan.traffic) {
        others.push(format!("traffic {}", plan.traffic));
    }
    if !args.set.is_empty() && args.set != plan.set {
        others.push("other settings".to_owned());
    }
    others
}

/// Finds, brings and builds what is needed, and decides what is to run.
fn plan(settings: &Settings, args: &Args, home: &Home) -> Result<Plan> {
    let consent = args.consent.consent(settings);
    machine::require_setpriv(settings)?;
    let checking = Step::begin("checking", "PostgreSQL, Redis, daprd");
    let major = postgres::data_version(home);
    let ready = machine::postgres(settings, major).found();
    checking.drop_line();
    let server = ready.map_or_else(|| install::postgres(settings, major, consent), Ok)?;
    let mut found = format!("postgres {}", server.version);
    let redis = install::redis(settings, consent)?;
    found.push_str(&format!(", redis {}", redis.version));
    let mut sidecar = None;
    if args.transport == Transport::Dapr
        && let Some(program) = daprd::find(settings)?
    {
        found.push_str(&format!(", daprd {}", program.version));
        sidecar = Some(program.path);
    }
    progress::say("found", &found);
    let programs = build::services(settings, profile(args))?;
    if args.transport == Transport::Dapr && sidecar.is_none() {
        sidecar = Some(daprd::build(settings)?.path);
    }
    Ok(Plan {
        transport: args.transport,
        port_offset: args.port_offset,
        ports: Plan::read(home)?.map(|plan| plan.ports).unwrap_or_default(),
        programs,
        postgres: postgres::place(home, server.path)?,
        redis: Some(redis.path),
        daprd: sidecar,
        set: args.set.clone(),
        via: args.via.clone(),
        traffic: if args.empty { 0 } else { args.traffic.unwrap_or(TRAFFIC) },
    })
}

fn profile(args: &Args) -> Profile {
    match (args.no_build, args.release) {
        (true, _) => Profile::Nothing,
        (false, true) => Profile::Release,
        (false, false) => Profile::Debug,
    }
}

/// This process is the supervisor; another thread watches until all is ready and loads the sample.
fn attached(home: &Home, args: &Args, begun: Instant) -> Result<ExitCode> {
    let watched = home.clone();
    let load = !args.empty;
    let _ = fs::remove_file(home.state_file());
    thread::spawn(move || {
        let result = wait_phase(&watched).and_then(|phase| match phase {
            Phase::Up => {
                if load && let Err(error) = load_sample(&watched) {
                    progress::say("sample", &format!("not loaded: {error:#}"));
                }
                say_ready(&watched, begun, "Ctrl-C")?;
                live::show(&Plan::read(&watched)?.context("the plan is gone")?, || false);
                Ok(())
            }
            Phase::Starting | Phase::Stopping | Phase::Stopped | Phase::Failed => Ok(()),
        });
        if let Err(error) = result {
            progress::say("up", &format!("{error:#}"));
        }
    });
    supervise::supervise(home)?;
    Ok(ExitCode::SUCCESS)
}

/// The supervisor is a process of its own; this one shows what it says until all is ready.
fn detached(home: &Home, args: &Args, begun: Instant) -> Result<ExitCode> {
    let _ = fs::remove_file(home.state_file());
    let log = home.open_log("supervisor")?;
    let mut child = home::this_program()?
        .args(["supervise", "--home"])
        .arg(home.root())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting the supervisor")?;
    wait_ready(home, Some(&mut child), 0)?;
    if !args.empty {
        load_sample(home)?;
    }
    say_ready(home, begun, &home.command("down"))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what the supervisor says, from a place in its log on, until the mesh is up or will not be.
fn wait_ready(home: &Home, mut supervisor: Option<&mut Child>, from: u64) -> Result<()> {
    let log = home.log("supervisor");
    let mut shown = from;
    loop {
        let phase = State::read(home)?.map(|state| state.phase);
        let ended = match supervisor.as_mut() {
            Some(child) => child.try_wait()?.is_some(),
            None => !home.is_supervised(),
        };
        shown = show(&log, shown)?;
        match phase {
            Some(Phase::Up) if !ended => return Ok(()),
            Some(Phase::Failed) => {
                let why = State::read(home)?.and_then(|state| state.error).unwrap_or_default();
                bail!("the mesh did not come up: {why}");
            }
            Some(Phase::Stopped) => bail!("the mesh was stopped while it came up"),
            _ if ended => bail!("the supervisor ended, see {}", log.display()),
            _ => thread::sleep(Duration::from_millis(30)),
        }
    }
}

/// Waits for the end of the start, whichever it is.
fn wait_phase(home: &Home) -> Result<Phase> {
    loop {
        match State::read(home)?.map(|state| state.phase) {
            None | Some(Phase::Starting) => thread::sleep(Duration::from_millis(30)),
            Some(phase) => return Ok(phase),
        }
    }
}

/// Prints the whole lines of a log after the first bytes; answers how many bytes are shown now.
fn show(log: &std::path::Path, shown: u64) -> Result<u64> {
    let Ok(file) = fs::File::open(log) else { return Ok(shown) };
    let mut reader = BufReader::new(file);
    reader.by_ref().take(shown).read_to_end(&mut Vec::new())?;
    let mut end = shown;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
        progress::print_raw(&line);
        end += line.len() as u64;
        line.clear();
    }
    Ok(end)
}

/// Loads the sample through the gateway, once in the life of a home.
fn load_sample(home: &Home) -> Result<()> {
    if home.loaded_file().exists() {
        return Ok(());
    }
    let plan = Plan::read(home)?.context("the plan is gone")?;
    let mut step = Step::begin("sample", "loading");
    let mut total = 0;
    let loaded = sample::load(&plan.url()?, &mut |what, done, of| {
        total = of;
        step.doing(format!("loading {what}, {done} of {of}"));
    });
    if let Err(error) = loaded {
        step.drop_line();
        let mend = home.command("up");
        return Err(error.context(format!(
            "the mesh is up, but loading the sample stopped; try again with: {mend}"
        )));
    }
    await_arrival(&plan, &mut step);
    step.done(&format!("{total} products, categories, prices, stores and stock levels"));
    fs::write(home.loaded_file(), "").context("noting that the sample is loaded")
}

/// Waits until all consumers have noticed everything, so that what is shown next is quick to show.
fn await_arrival(plan: &Plan, step: &mut Step) {
    let deadline = Instant::now() + ARRIVAL_LIMIT;
    let mut quiet = 0;
    while quiet < QUIET_LOOKS && Instant::now() < deadline {
        match live::behind(plan) {
            Some(0) => quiet += 1,
            Some(left) => {
                quiet = 0;
                step.doing(format!("loaded, arriving everywhere, {left} to go"));
            }
            None => quiet = 0,
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

fn say_ready(home: &Home, begun: Instant, stop: &str) -> Result<()> {
    let plan = Plan::read(home)?.context("the plan is gone")?;
    progress::say("ready", &format!("after {}", progress::duration(begun.elapsed())));
    say_where(home, &plan)?;
    progress::say("stop", stop);
    Ok(())
}

fn say_where(home: &Home, plan: &Plan) -> Result<()> {
    let url = plan.url()?;
    progress::say("look", &format!("{url}    transport {}", plan.transport));
    progress::say("try", &format!("curl '{url}/api/v1/search?q=hoodie&in_stock=true'"));
    progress::say("", &format!("curl '{url}/api/v1/views/products/MH01-XS-Black'"));
    progress::say("", &operator(plan, "where price MH01-XS-Black"));
    progress::say("", &operator(plan, "lag"));
    progress::say("more", &format!("{}, {}", home.command("status"), home.command("logs catalog")));
    Ok(())
}

/// The operator's command line, as the user would type it.
fn operator(plan: &Plan, words: &str) -> String {
    match plan.port_offset {
        0 => format!("cargo syncline {words}"),
        offset => format!("cargo syncline --port-offset {offset} {words}"),
    }
}
