//! The operator's command line `syncline`: where a change is, who lags behind, and imports.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks by printing")]

mod answers;
mod client;
mod entity;
mod import;
mod lag;
mod locate;
mod services;
mod table;
mod trail;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::services::Services;

/// Asks a running Syncline where a change is and who lags behind, and loads files into it.
///
/// Exit codes: 0 all is well, 1 it failed or somebody is behind, 2 the command line is wrong, 3 it
/// worked in part (some lines were refused, or a change has not arrived everywhere).
#[derive(Debug, Parser)]
#[command(name = "syncline", version)]
struct Cli {
    #[command(flatten)]
    services: Services,
    /// Prints JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints every hop of an entity's latest change, at all consumers.
    Where(locate::Args),
    /// Prints how far each consumer is behind.
    Lag(lag::Args),
    /// Loads a file of records, NDJSON or CSV.
    Import(import::Args),
}

/// In which form an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Json,
}

impl Form {
    /// Prints the answer in this form; `text` is it for people.
    fn print(self, answer: &impl Serialize, text: &str) -> Result<()> {
        match self {
            Self::Table => print!("{text}"),
            Self::Json => println!("{}", serde_json::to_string(answer)?),
        }
        Ok(())
    }
}

/// What came of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Well,
    Behind,
    InPart,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let form = if cli.json { Form::Json } else { Form::Table };
    match run(&cli, form) {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::Behind) => ExitCode::from(1),
        Ok(Outcome::InPart) => ExitCode::from(3),
        Err(error) => {
            eprintln!("syncline: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli, form: Form) -> Result<Outcome> {
    let services = cli.services.places()?;
    match &cli.command {
        Command::Where(args) => locate::run(args, &services, form),
        Command::Lag(args) => lag::run(args, &services, form),
        Command::Import(args) => import::run(args, &services, form),
    }
}
