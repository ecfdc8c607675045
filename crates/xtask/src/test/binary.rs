//! The test binaries: built once for the whole workspace, then run one by one.
//!
//! Asking cargo for a single package would build its dependencies again with fewer features, so
//! cargo is asked once for everything and the binaries are run as it would run them.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _, stdout},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// A binary that runs longer than this hangs.
const RUN_LIMIT: Duration = Duration::from_secs(20 * 60);
const TURN: Duration = Duration::from_millis(50);

/// One test binary.
#[derive(Debug, Clone)]
pub(super) struct Binary {
    pub(super) package: String,
    /// Name of its target.
    pub(super) name: String,
    pub(super) target: Target,
    /// Its package's folder, where it runs.
    pub(super) folder: PathBuf,
    /// The file.
    pub(super) path: PathBuf,
}

/// What a binary tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A library or a program from within.
    Unit,
    /// A package from outside.
    Integration,
}

/// What became of the tests of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
    /// Whether the binary itself says that all is well.
    pub(super) well: bool,
}

/// Builds everything and answers the test binaries, by package.
pub(super) fn build(cargo: &Path, root: &Path) -> Result<Vec<Binary>> {
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--workspace", "--all-targets"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo build")?;
    if !output.status.success() {
        bail!("cargo build ended with {}", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut binaries: Vec<Binary> = messages.lines().filter_map(binary).collect();
    binaries.sort_by(|a, b| (&a.package, &a.name).cmp(&(&b.package, &b.name)));
    Ok(binaries)
}

/// The test binary that one of cargo's messages tells of, if it does.
fn binary(message: &str) -> Option<Binary> {
    let artifact: Artifact = serde_json::from_str(message).ok()?;
    if !artifact.profile.test {
        return None;
    }
    let folder = artifact.manifest_path.parent()?.to_path_buf();
    let integration = artifact.target.kind.iter().any(|kind| kind == "test");
    Some(Binary {
        package: folder.file_name()?.to_str()?.to_owned(), // packages are named as their folders
        name: artifact.target.name,
        target: if integration { Target::Integration } else { Target::Unit },
        folder,
        path: artifact.executable?,
    })
}

#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: ArtifactTarget,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Binary {
    /// How a reader calls it.
    pub(super) fn title(&self) -> String {
        format!("{} ({})", self.package, self.name)
    }

    /// The binary as cargo would start it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("CARGO_PKG_NAME", &self.package)
            .env("INSTA_UPDATE", "no"); // a snapshot that differs fails; it is not rewritten
        command
    }

    /// The modules that its tests stand in, outermost only.
    pub(super) fn modules(&self) -> Result<BTreeSet<String>> {
        let output = self.command().arg("--list").output();
        let output = output.with_context(|| format!("starting {}", self.title()))?;
        let list = String::from_utf8_lossy(&output.stdout);
        let tests = list.lines().filter(|line| line.ends_with(": test"));
        Ok(tests.filter_map(|test| test.split_once("::")).map(|(m, _)| m.to_owned()).collect())
    }

    /// Runs it; what it prints is printed and counted.
    pub(super) fn run(&self, command: &mut Command, interrupted: &AtomicBool) -> Result<Outcome> {
        println!("-- {}", self.title());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.title()))?;
        let output = child.stdout.take().context("it has no output")?;
        let printing = thread::spawn(move || print(output));
        let status = wait(&mut child, interrupted);
        let text = printing.join().unwrap_or_default();
        let status = status.with_context(|| format!("running {}", self.title()))?;
        let mut outcome = Outcome { well: status, ..Outcome::default() };
        text.lines().for_each(|line| outcome.count(line));
        Ok(outcome)
    }
}

/// Waits until it ends, or ends it when its time is up or everything is to end.
fn wait(child: &mut Child, interrupted: &AtomicBool) -> Result<bool> {
    let deadline = Instant::now() + RUN_LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        let why = if interrupted.load(Ordering::Relaxed) {
            "interrupted"
        } else if Instant::now() >= deadline {
            "it hangs"
        } else {
            thread::sleep(TURN);
            continue;
        };
        child.kill()?;
        child.wait()?;
        bail!("{why}");
    }
}

/// Prints as it comes, also half lines, and keeps it.
fn print(mut output: ChildStdout) -> String {
    let (mut all, mut chunk) = (Vec::new(), [0_u8; 4096]);
    while let Ok(length @ 1..) = output.read(&mut chunk) {
        let read = chunk.get(..length).unwrap_or_default();
        let _ = stdout().write_all(read).and_then(|()| stdout().flush());
        all.extend_from_slice(read);
    }
    String::from_utf8_lossy(&all).into_owned()
}

impl Outcome {
    /// Adds another run.
    pub(super) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// Reads the line with which a run closes.
    fn count(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        for part in counts.split([';', '.']) {
            let mut words = part.split_whitespace();
            let number = words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed") => self.failed += number,
                Some("ignored") => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted_and_others_are_not() {
        let mut outcome = Outcome::default();
        outcome.count("test a::b ... 7 passed; 7 failed");
        outcome.count(
            "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; \
             finished in 0.01s",
        );
        assert_eq!(outcome, Outcome { passed: 5, failed: 2, ignored: 1, well: false });
    }

    #[test]
    fn only_test_binaries_are_taken_from_what_cargo_says() {
        let message = |test: bool, kind: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/crates/bus/Cargo.toml",
                "target":{{"name":"it","kind":["{kind}"]}},"profile":{{"test":{test}}},
                "executable":"/a/target/it-1"}}"#
            )
        };
        assert!(binary(&message(false, "bin")).is_none());
        assert!(binary(r#"{"reason":"build-finished","success":true}"#).is_none());
        let found = binary(&message(true, "test")).unwrap();
        assert_eq!((found.package.as_str(), found.target), ("bus", Target::Integration));
        assert_eq!(binary(&message(true, "lib")).unwrap().target, Target::Unit);
    }

    #[test]
    fn a_binary_is_ended_when_everything_is_to_end() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let error = wait(&mut child, &AtomicBool::new(true)).unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
    }
}
