//! Builds the services' programs and says where they are.

use std::{
    collections::BTreeMap,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::RecvTimeoutError,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{
    daprd::lines_of,
    mesh::SERVICES,
    progress::{self, Step},
    settings::Settings,
    workspace,
};

/// The package of the operator's command line, which is there at once when it is wanted.
const OPERATOR: &str = "cli";

/// What is built, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Debug,
    /// Quick to run.
    Release,
    /// Nothing: the programs that lie beside this one are taken.
    Nothing,
}

/// One message of cargo, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The services' programs, by service.
pub(crate) fn services(settings: &Settings, profile: Profile) -> Result<BTreeMap<String, PathBuf>> {
    match profile {
        Profile::Nothing => beside_this(),
        Profile::Debug => cargo(settings, &[]),
        Profile::Release => cargo(settings, &["--release"]),
    }
}

fn beside_this() -> Result<BTreeMap<String, PathBuf>> {
    let this = std::env::current_exe().context("finding this program")?;
    let folder = this.parent().unwrap_or(Path::new("/"));
    let programs = SERVICES.iter().map(|service| {
        let program = folder.join(service.name);
        if !program.is_file() {
            bail!("{} is not built; leave out --no-build", program.display());
        }
        Ok((service.name.to_owned(), program))
    });
    programs.collect()
}

fn cargo(settings: &Settings, flags: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let names: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
    programs(settings, flags, &names, &[OPERATOR])
}

/// The programs of these packages, quick to run, by name.
pub(crate) fn release(settings: &Settings, names: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    programs(settings, &["--release"], names, &[])
}

/// Builds packages; those in `beside` need have no program of their name.
fn programs(
    settings: &Settings,
    flags: &[&str],
    names: &[&str],
    beside: &[&str],
) -> Result<BTreeMap<String, PathBuf>> {
    let mut step = Step::begin("building", names.join(", "));
    let mut command = Command::new(&settings.cargo);
    command.args(["build", "--message-format=json-render-diagnostics", "--bins"]).args(flags);
    for name in names.iter().chain(beside) {
        command.args(["--package", name]);
    }
    let mut child = command
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", settings.cargo.display()))?;
    let stderr = child.stderr.take().context("no error output to read")?;
    let said = thread::spawn(move || std::io::read_to_string(stderr));
    let lines = lines_of(BufReader::new(child.stdout.take().context("no output to read")?));
    let mut programs = BTreeMap::new();
    let mut built = 0_u32;
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                built += 1;
                step.doing(format!("{}, {built} crates", names.join(", ")));
                programs.extend(program_in(&line));
            }
            Err(RecvTimeoutError::Timeout) => step.tick(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait().context("waiting for cargo")?;
    if !status.success() {
        step.drop_line();
        let said = said.join().ok().and_then(Result::ok).unwrap_or_default();
        progress::say("building", "failed; cargo says:");
        bail!("cargo build ended with {status}\n{}", errors_in(&said));
    }
    for name in names {
        programs.get(*name).with_context(|| format!("cargo built no program of {name}"))?;
    }
    step.done(&names.join(", "));
    Ok(programs)
}

/// The program that a message of cargo tells of.
fn program_in(line: &str) -> Option<(String, PathBuf)> {
    let message: Message = serde_json::from_str(line).ok()?;
    if message.reason != "compiler-artifact" {
        return None;
    }
    Some((message.target?.name, message.executable?))
}

/// What cargo said, without the list of what it compiled.
fn errors_in(said: &str) -> String {
    let noise = ["Compiling", "Downloading", "Downloaded", "Locking", "Updating", "Blocking"];
    let lines =
        said.lines().filter(|line| !noise.iter().any(|word| line.trim_start().starts_with(word)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_read_from_cargos_message() {
        let line = r#"{"reason":"compiler-artifact",
            "target":{"name":"relay","kind":["bin"]},"executable":"/t/relay"}"#;
        assert_eq!(program_in(line), Some(("relay".to_owned(), PathBuf::from("/t/relay"))));
        assert_eq!(program_in(r#"{"reason":"build-finished","success":true}"#), None);
    }

    #[test]
    fn the_list_of_crates_is_left_out_of_errors() {
        assert_eq!(errors_in("   Compiling a v1\nerror: b\n"), "error: b");
    }
}
