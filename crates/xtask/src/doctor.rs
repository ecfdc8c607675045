//! `cargo x doctor`: checks the machine and names the one line that mends each thing.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    daprd,
    home::{Home, HomeArgs},
    install::{self, Package},
    machine::{self, Search},
    mesh::SERVICES,
    ports, postgres, process,
    progress::print_line,
    settings::Settings,
};

/// The exit code when something is missing.
const MISSING: u8 = 6;

/// What `cargo x doctor` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    home: HomeArgs,
}

/// One thing that was looked at.
enum Finding {
    /// It is as it should be.
    Well(String),
    /// It is not, but the mesh runs all the same.
    Note(String),
    /// Without it the mesh does not run; the line that mends it.
    Missing(String, String),
}

/// Looks at everything that `up` needs, changes nothing, and says what it found.
pub(crate) fn run(settings: &Settings, args: &Args) -> Result<ExitCode> {
    let home = args.home.home()?;
    let findings = [
        ("cargo", cargo(settings)),
        ("setpriv", setpriv(settings)),
        ("postgres", database(settings, &home)),
        ("redis", redis(settings)),
        ("daprd", sidecar(settings)),
        ("ports", documented_ports(&home)),
    ];
    let mut missing = false;
    for (name, finding) in findings {
        let line = match finding {
            Finding::Well(what) => format!("  ok       {name:<10} {what}"),
            Finding::Note(what) => format!("  note     {name:<10} {what}"),
            Finding::Missing(what, mend) => {
                missing = true;
                format!("  missing  {name:<10} {what}\n           mend it with: {mend}")
            }
        };
        print_line(&line);
    }
    Ok(if missing { ExitCode::from(MISSING) } else { ExitCode::SUCCESS })
}

fn cargo(settings: &Settings) -> Finding {
    match machine::version_of(&settings.cargo) {
        Some(version) => Finding::Well(version),
        None => Finding::Missing(
            format!("{} does not run", settings.cargo.display()),
            "install Rust from https://rustup.rs".to_owned(),
        ),
    }
}

fn setpriv(settings: &Settings) -> Finding {
    match machine::in_path(settings, "setpriv") {
        Some(path) => Finding::Well(path.display().to_string()),
        None => Finding::Missing("not found".to_owned(), machine::SETPRIV_MEND.to_owned()),
    }
}

fn database(settings: &Settings, home: &Home) -> Finding {
    let wrote = postgres::data_version(home);
    match (machine::postgres(settings, wrote), wrote) {
        (Search::Found(found), _) => match process::is_root().then(machine::postgres_user) {
            Some(Err(error)) => Finding::Missing(found.version, format!("{error:#}")),
            Some(Ok(user)) => {
                let path = found.path.display();
                Finding::Well(format!("{} in {path}, runs as {user}", found.version))
            }
            None => Finding::Well(format!("{} in {}", found.version, found.path.display())),
        },
        (_, Some(major)) => Finding::Missing(
            format!("not found in version {major}, which wrote the data of this home"),
            format!("install it, or forget the data with: {}", home.command("reset")),
        ),
        (Search::Unfit(what), None) => {
            lacking(settings, &install::POSTGRES, &format!("there is only {what}"))
        }
        (Search::Absent, None) => {
            lacking(settings, &install::POSTGRES, "not found, 15 or newer is needed")
        }
    }
}

fn redis(settings: &Settings) -> Finding {
    match machine::redis(settings) {
        Search::Found(found) => {
            Finding::Well(format!("{} ({})", found.version, found.path.display()))
        }
        Search::Unfit(what) => lacking(settings, &install::REDIS, &format!("there is only {what}")),
        Search::Absent => lacking(settings, &install::REDIS, "not found, 7 or newer is needed"),
    }
}

/// What `up` fetches by itself stops nobody.
fn lacking(settings: &Settings, package: &Package, what: &str) -> Finding {
    match package.fetched(settings) {
        Some(fetched) => Finding::Note(format!("{what}; {fetched}")),
        None => Finding::Missing(what.to_owned(), package.mend(settings)),
    }
}

fn sidecar(settings: &Settings) -> Finding {
    match daprd::find(settings) {
        Ok(Some(found)) => Finding::Well(format!("{} ({})", found.version, found.path.display())),
        Ok(None) if daprd::go(settings).is_some() => Finding::Note(format!(
            "not found; `cargo x up` or `cargo x daprd` builds {} once, in about 4 minutes",
            daprd::VERSION
        )),
        Ok(None) => Finding::Missing("not found".to_owned(), daprd::MEND.to_owned()),
        Err(error) => Finding::Missing(format!("{error:#}"), daprd::MEND.to_owned()),
    }
}

fn documented_ports(home: &Home) -> Finding {
    if home.is_supervised() {
        return Finding::Well(format!("the mesh is up, see: {}", home.command("status")));
    }
    let taken: Vec<String> = SERVICES
        .iter()
        .filter(|service| !ports::is_free(service.port))
        .map(|service| format!("{} ({})", service.port, service.name))
        .collect();
    if taken.is_empty() {
        return Finding::Well("the documented ones are free".to_owned());
    }
    Finding::Note(format!("taken: {}; the next free ones will be used", taken.join(", ")))
}
