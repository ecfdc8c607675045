//! `cargo x tidy`: the house rules that no compiler and no lint knows, each with a test that
//! shows it can fail.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::CommandFactory as _;

use crate::settings::Settings;
use crate::{Cli, workspace};

mod arrows;
mod components;
mod covers;
mod manifests;
mod rust;
mod services;
mod source;
mod sql;
mod text;
mod tree;

use tree::{Finding, Tree};

/// A rule looks at the whole tree and says what is wrong.
type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: &[Rule] = &[
    arrows::arrows_point_down,
    arrows::pure_crates_are_pure,
    manifests::lints_are_inherited,
    manifests::versions_are_shared,
    manifests::no_features,
    manifests::dependencies_are_used,
    manifests::required_packages_are_used,
    source::heads,
    source::lengths,
    source::columns,
    source::names_say_something,
    source::banned_constructs,
    source::metric_names,
    sql::only_in_sql_files,
    sql::every_file_is_used_once,
    sql::files_are_well_formed,
    services::cards,
    services::publishes_agree_with_contracts,
    services::consumes_agree_with_subscriptions,
    services::serves_agree_with_routes,
    services::domain_imports,
    components::subscriptions_fit_the_bus,
    components::lanes_list_every_topic,
    components::resiliency_names_every_app,
    text::machine_paths,
    text::registry_hosts,
    text::top_level,
    covers::marks_are_true,
    source::metrics_are_documented,
    |tree| text::documented_commands(tree, &commands()),
];

/// What `cargo x tidy` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(settings: &Settings, _args: &Args) -> Result<ExitCode> {
    println!("tidy: {}", check(settings)?);
    Ok(ExitCode::SUCCESS)
}

/// Every requirement that is covered, with its tests.
pub(crate) fn covered(settings: &Settings) -> Result<String> {
    Ok(covers::listing(&read(settings)?))
}

fn read(settings: &Settings) -> Result<Tree> {
    let root = workspace::root();
    Tree::read(&root, workspace::packages(&settings.cargo, &root)?)
}

/// Checks every rule and prints what it found.
pub(crate) fn check(settings: &Settings) -> Result<String> {
    let tree = read(settings)?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "{} findings", findings.len());
    Ok(format!("{} rules, {} files", RULES.len(), tree.files.len()))
}

/// The names of this program's commands.
fn commands() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}
