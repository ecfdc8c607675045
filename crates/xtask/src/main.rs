//! The developer's commands: `cargo x up`, `test`, `check` and their kin.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks by printing")]

mod bench;
mod build;
mod check;
mod daprd;
mod doctor;
mod down;
mod home;
mod install;
mod live;
mod logs;
mod machine;
mod mesh;
mod parts;
mod plan;
mod ports;
mod postgres;
mod process;
mod progress;
mod redis;
mod requirements;
mod reset;
mod sample;
mod secrets;
mod servers;
mod settings;
mod sql;
mod stages;
mod status;
mod supervise;
mod test;
mod tidy;
mod trade;
mod up;
mod wheel;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::settings::Settings;

/// Runs, checks and tests Syncline on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo x", bin_name = "cargo x", version)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // the local runner
    /// From nothing to a running mesh: finds or installs, builds, starts, loads.
    Up(up::Args),
    /// Stops the mesh of a home and leaves its data.
    Down(down::Args),
    /// The state of every part.
    Status(status::Args),
    /// Prints what a part wrote.
    Logs(logs::Args),
    /// Stops the mesh of a home and forgets its data.
    Reset(reset::Args),
    /// Checks the machine and names the one line that mends each thing.
    Doctor(doctor::Args),
    /// Finds the Dapr sidecar's program, or builds it.
    Daprd(daprd::Args),
    /// Owns the processes of a mesh; `up --detach` starts it.
    #[command(hide = true)]
    Supervise(supervise::Args),
    /// Writes like a small trade, without end; `up` starts it.
    #[command(hide = true)]
    Trade(trade::Args),

    // the work on the code
    /// Format, lint, tidy, SQL, docs: the same on a desk and in CI.
    Check(check::Args),
    /// The rules of the house that no compiler checks.
    Tidy(tidy::Args),
    /// Which requirements are covered, and by which tests.
    Requirements(requirements::Args),
    /// Prepares every statement against a migrated database.
    Sql(sql::Args),
    /// Every test, from nothing.
    Test(test::Args),
    /// Figures anybody can reproduce: what a change costs and how long it takes.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Every command takes the settings of the machine and its own arguments.
fn run(cli: &Cli) -> Result<ExitCode> {
    let settings = &cli.settings;
    match &cli.command {
        Command::Up(args) => up::run(settings, args),
        Command::Down(args) => down::run(settings, args),
        Command::Status(args) => status::run(settings, args),
        Command::Logs(args) => logs::run(settings, args),
        Command::Reset(args) => reset::run(settings, args),
        Command::Doctor(args) => doctor::run(settings, args),
        Command::Daprd(args) => daprd::run(settings, args),
        Command::Supervise(args) => supervise::run(settings, args),
        Command::Trade(args) => trade::run(settings, args),
        Command::Check(args) => check::run(settings, args),
        Command::Tidy(args) => tidy::run(settings, args),
        Command::Requirements(args) => requirements::run(settings, args),
        Command::Sql(args) => sql::run(settings, args),
        Command::Test(args) => test::run(settings, args),
        Command::Bench(args) => bench::run(settings, args),
    }
}
