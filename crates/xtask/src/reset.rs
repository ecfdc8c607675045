//! `cargo x reset`: stops a mesh and forgets its data.

use std::{
    fs,
    io::{BufRead as _, ErrorKind, IsTerminal as _, stdin},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    down,
    home::{Home, HomeArgs},
    mesh::{SERVICES, Setting},
    postgres, progress,
    settings::Settings,
};

/// What `cargo x reset` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    home: HomeArgs,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Stops the mesh of a home and removes all that it kept.
pub(crate) fn run(settings: &Settings, args: &Args) -> Result<ExitCode> {
    let home = args.home.home()?;
    if !home.root().exists() {
        progress::say("reset", &format!("there is nothing in {}", home.root().display()));
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes && !settings.is_ci() && !agreed(&home)? {
        bail!("nothing was removed; to agree beforehand: {} --yes", home.command("reset"));
    }
    down::stop(&home)?;
    forget(&home)?;
    progress::say("reset", &format!("{} is forgotten", home.root().display()));
    Ok(ExitCode::SUCCESS)
}

/// Removes by name what a mesh makes, so that a home that was named by mistake keeps the rest.
fn forget(home: &Home) -> Result<()> {
    let folders =
        SERVICES.iter().flat_map(|service| service.settings).filter_map(|setting| match setting {
            Setting::Folder(_, folder) => Some(*folder),
            Setting::Sources(_)
            | Setting::Peer(_, _)
            | Setting::Address(_, _)
            | Setting::Cache(_) => None,
        });
    for folder in folders.chain(["postgres", "postgres.new", "redis", "cache", "logs"]) {
        gone(fs::remove_dir_all(home.path(folder)), folder)?;
    }
    let outside = postgres::outside_path(home);
    gone(fs::remove_dir_all(&outside), &outside.to_string_lossy())?;
    let names = ["names.db", "names.db-wal", "names.db-shm", "postgres.password", "setup.sql"];
    let files = ["plan.json", "state.json", "secrets.json", "loaded", "supervisor.lock"];
    for file in names.iter().chain(&files) {
        gone(fs::remove_file(home.path(file)), file)?;
    }
    // Something of the user's may lie there too.
    let _ = fs::remove_dir(home.root());
    Ok(())
}

fn gone(result: std::io::Result<()>, what: &str) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {what}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn agreed(home: &Home) -> Result<bool> {
    if !stdin().is_terminal() {
        return Ok(false);
    }
    let root = home.root().display();
    progress::print_raw(&format!("  all data in {root} will be gone; go on? [y/N] "));
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
