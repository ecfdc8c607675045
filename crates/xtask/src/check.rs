//! `cargo x check`: everything that can be said about the code without running the system.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::Result;

use crate::{
    install::Consent,
    servers::ConsentArgs,
    settings::Settings,
    sql,
    stages::{Stages, succeed},
    tidy, workspace,
};

/// What `cargo x check` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this stage
    #[arg(long, value_name = "STAGE")]
    only: Option<Stage>,
    #[command(flatten)]
    consent: ConsentArgs,
}

/// The stages, the quick ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Stage {
    Format,
    Tidy,
    Clippy,
    Docs,
    Sql,
}

const STAGES: [Stage; 5] = [Stage::Format, Stage::Tidy, Stage::Clippy, Stage::Docs, Stage::Sql];

/// Runs the command.
pub(crate) fn run(settings: &Settings, args: &Args) -> Result<ExitCode> {
    let consent = args.consent.consent(settings);
    let root = workspace::root();
    let mut stages = Stages::default();
    for stage in STAGES.into_iter().filter(|stage| args.only.is_none_or(|only| only == *stage)) {
        let name = format!("{stage:?}").to_lowercase();
        stages.run(&name, || stage.run(settings, &root, consent));
    }
    Ok(stages.finish("check"))
}

impl Stage {
    fn run(self, settings: &Settings, root: &Path, consent: Consent) -> Result<String> {
        let cargo = |arguments: &[&str]| {
            let mut command = Command::new(&settings.cargo);
            command.current_dir(root).args(arguments);
            command
        };
        match self {
            Self::Format => succeed(&mut cargo(&["fmt", "--all", "--", "--check"]))?,
            Self::Tidy => return tidy::check(settings),
            Self::Clippy => succeed(&mut cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]))?,
            Self::Docs => {
                let mut docs = cargo(&["doc", "--no-deps", "--workspace"]);
                succeed(docs.env("RUSTDOCFLAGS", "-D warnings"))?;
            }
            Self::Sql => return sql::check(settings, consent),
        }
        Ok(String::new())
    }
}
