//! What services answer to whatever one may send them is what their documents say.
//!
//! The requests are made by schemathesis, from each service's own document, with a fixed seed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use harness::Mesh;

/// The only version whose findings are compared.
const TOOL: &str = "schemathesis==4.32.5";
const SEED: &str = "57";
/// Generated requests for each operation, beside those that try each rule of the document.
const EXAMPLES: &str = "5";
/// For one service; a service that hangs is none that answers.
const LIMIT: Duration = Duration::from_secs(300);
/// Every service with a document; the gateway's holds those of all others.
const SERVICES: [&str; 5] = ["catalog", "pricing", "warehouse", "search-indexer", "gateway"];

#[tokio::test]
async fn no_request_is_answered_with_a_500_or_an_undocumented_status() -> anyhow::Result<()> {
    let tool = tool()?;
    let mesh = Mesh::up(&["--empty"])?;
    let mut findings = Vec::new();
    for service in SERVICES {
        let (url, began) = (mesh.service(service)?, Instant::now());
        let output = examine(&tool, &url, mesh.home())?;
        let said = String::from_utf8_lossy(&output.stdout);
        let cases = said.lines().find(|line| line.contains(" generated, "));
        let cases = cases.with_context(|| format!("{service} was not examined: {said}"))?.trim();
        println!("{service}: {cases}, in {:.1} s", began.elapsed().as_secs_f64());
        if !output.status.success() {
            findings.push(format!("{service}: {said}"));
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

fn examine(tool: &Path, url: &str, home: &Path) -> anyhow::Result<Output> {
    let mut command = Command::new("timeout");
    command
        .arg(LIMIT.as_secs().to_string())
        .arg(tool)
        .args(["run", &format!("{url}/openapi.json")]);
    command.args(["--checks", "not_a_server_error,status_code_conformance"]);
    command.args(["--phases", "coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED]);
    command.args(["--generation-deterministic", "--continue-on-failure", "--no-shrink"]);
    command.args(["--request-timeout", "30", "--no-color"]).current_dir(home);
    command.output().context("start schemathesis")
}

/// The tool, in an environment of its own below the user's cache, made where it is not there yet.
///
/// Without Python or the package index this fails: a test that is left out protects nobody.
fn tool() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME names no folder to keep schemathesis in")?;
    let folder = PathBuf::from(home).join(".cache/syncline").join(TOOL.replace("==", "-"));
    let tool = folder.join("bin/schemathesis");
    if said(Command::new(&tool).arg("--version")).is_ok() {
        return Ok(tool);
    }
    let began = Instant::now();
    said(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .context("python3 with its module venv is needed to examine the API")?;
    let mut install = Command::new(folder.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", TOOL]);
    said(&mut install).with_context(|| format!("{TOOL} cannot be installed from PyPI"))?;
    println!("{TOOL} was installed in {:.1} s", began.elapsed().as_secs_f64());
    Ok(tool)
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))
}
