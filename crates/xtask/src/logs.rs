//! `cargo x logs`.

use std::process::ExitCode;

use anyhow::Result;

use crate::settings::Settings;

/// What `cargo x logs` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_settings: &Settings, _args: &Args) -> Result<ExitCode> {
    anyhow::bail!("not written yet")
}
