//! The `bench` program: a whole run, and the roles that it starts as processes of their own.
#![expect(clippy::print_stderr, reason = "a command line speaks by printing")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Syncline beside what this machine could do; `cargo x bench` prepares it.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A whole run.
    Run(bench::run::Settings),
    /// Writes what the workload asks for.
    #[command(hide = true)]
    Writer(bench::writer::Settings),
    /// Consumes as a plain Dapr app does.
    #[command(hide = true)]
    PlainConsumer(bench::plain::ConsumerSettings),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(settings) => bench::run::run(&settings).await,
        Command::Writer(settings) => {
            bench::writer::run(&settings).await.map(|()| ExitCode::SUCCESS)
        }
        Command::PlainConsumer(settings) => {
            bench::plain::consumer(settings).await.map(|()| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
