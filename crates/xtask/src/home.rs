//! The home of one mesh: the folder that holds all it keeps, so that two meshes never meet.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::{Serialize, de::DeserializeOwned};

use crate::workspace;

/// Which mesh a command is about.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HomeArgs {
    /// The folder that holds all that this mesh keeps [default: .syncline in the clone]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

impl HomeArgs {
    /// The home that is meant, as a full path.
    pub(crate) fn home(&self) -> Result<Home> {
        let chosen = self.home.clone().unwrap_or_else(default_root);
        let root = std::path::absolute(&chosen)
            .with_context(|| format!("finding the home {}", chosen.display()))?;
        // A home that is there may be reached by a link; its parts are found under one name only.
        Ok(Home { root: root.canonicalize().unwrap_or(root) })
    }
}

/// The folder of one mesh and where things lie in it.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// The home at a place that is known.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// What a part writes.
    pub(crate) fn log(&self, part: &str) -> PathBuf {
        self.root.join("logs").join(format!("{part}.log"))
    }

    /// What is to run.
    pub(crate) fn plan_file(&self) -> PathBuf {
        self.path("plan.json")
    }

    /// What runs.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.path("state.json")
    }

    /// Passwords, tokens and the addresses that hold them.
    pub(crate) fn secrets_file(&self) -> PathBuf {
        self.path("secrets.json")
    }

    /// Made when the sample has been loaded.
    pub(crate) fn loaded_file(&self) -> PathBuf {
        self.path("loaded")
    }

    /// Makes the folder and those in it.
    pub(crate) fn create(&self) -> Result<()> {
        fs::create_dir_all(self.path("logs"))
            .with_context(|| format!("making the home {}", self.root.display()))
    }

    /// The command that does something with this home, as the user would type it.
    pub(crate) fn command(&self, words: &str) -> String {
        if self.root == default_root() {
            format!("cargo x {words}")
        } else {
            format!("cargo x {words} --home {}", self.root.display())
        }
    }

    /// Whether a supervisor is in charge of this home.
    pub(crate) fn is_supervised(&self) -> bool {
        let Ok(file) = File::open(self.lock_file()) else { return false };
        file.try_lock_shared().is_err()
    }

    /// Takes charge of this home for as long as the answer is kept.
    pub(crate) fn take_charge(&self) -> Result<File> {
        let path = self.lock_file();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        // Somebody who only looks whether it is taken holds it for an instant.
        let deadline = Instant::now() + Duration::from_secs(2);
        while file.try_lock().is_err() {
            if Instant::now() >= deadline {
                bail!("another supervisor is in charge of {}", self.root.display());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(file)
    }

    /// Opens the log of a part to write on; a log of an earlier start is kept beside it once.
    pub(crate) fn open_log(&self, part: &str) -> Result<File> {
        let path = self.log(part);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("opening the log {}", path.display()))
    }

    /// Puts the logs of the last start aside.
    pub(crate) fn turn_logs(&self) -> Result<()> {
        let folder = self.path("logs");
        for entry in
            fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?
        {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                fs::rename(&path, path.with_extension("log.old"))?;
            }
        }
        Ok(())
    }

    fn lock_file(&self) -> PathBuf {
        self.path("supervisor.lock")
    }
}

fn default_root() -> PathBuf {
    let root = workspace::root().join(".syncline");
    root.canonicalize().unwrap_or(root)
}

/// Reads a file of the home; nothing if there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let value =
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(value))
}

/// Writes a file of the home so that a reader sees the old or the new one, and only its owner any.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    write_text(path, &serde_json::to_string_pretty(value)?)
}

/// The same for a text.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_added_extension("new");
    let _ = fs::remove_file(&fresh);
    let result = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&fresh, path));
    result.with_context(|| format!("writing {}", path.display()))
}

/// The program itself, to be started again as the supervisor.
pub(crate) fn this_program() -> Result<Command> {
    let path = std::env::current_exe().context("finding this program")?;
    // A program that was built anew while it runs is named with a mark that no file bears.
    let text = path.to_string_lossy();
    Ok(Command::new(text.strip_suffix(" (deleted)").unwrap_or(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> Home {
        let root = std::env::temp_dir().join(format!("syncline-{name}-{}", std::process::id()));
        let home = Home { root };
        home.create().unwrap();
        home
    }

    #[test]
    fn a_home_has_one_supervisor_at_a_time() {
        let home = scratch("charge");
        assert!(!home.is_supervised());
        let charge = home.take_charge().unwrap();
        assert!(home.is_supervised());
        drop(charge);
        assert!(!home.is_supervised());
        fs::remove_dir_all(home.root()).unwrap();
    }

    #[test]
    fn files_of_a_home_are_read_back_and_closed_to_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = scratch("files");
        assert_eq!(read::<Vec<u8>>(&home.plan_file()).unwrap(), None);
        write(&home.plan_file(), &vec![1_u8, 2]).unwrap();
        assert_eq!(read::<Vec<u8>>(&home.plan_file()).unwrap(), Some(vec![1, 2]));
        let mode = fs::metadata(home.plan_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        fs::remove_dir_all(home.root()).unwrap();
    }
}
