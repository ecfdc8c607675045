//! `cargo x requirements`: which requirements are covered, and by which tests.

use std::process::ExitCode;

use anyhow::Result;

use crate::settings::Settings;
use crate::tidy;

/// What `cargo x requirements` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(settings: &Settings, _args: &Args) -> Result<ExitCode> {
    print!("{}", tidy::covered(settings)?);
    Ok(ExitCode::SUCCESS)
}
