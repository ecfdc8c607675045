//! What this machine offers: PostgreSQL, Redis and the tools that tie processes together.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{settings::Settings, wheel};

/// The oldest PostgreSQL that the statements are written for.
pub(crate) const POSTGRES_OLDEST: u32 = 15;
/// The oldest Redis that says how far a consumer group lags.
const REDIS_OLDEST: u32 = 7;

/// A program that was found, with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The program, or for PostgreSQL the folder of its programs.
    pub(crate) path: PathBuf,
    /// Its version as it says it.
    pub(crate) version: String,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Search {
    /// There it is.
    Found(Found),
    /// There is one, but it will not do.
    Unfit(String),
    /// There is none.
    Absent,
}

impl Search {
    /// What was found, if it will do.
    pub(crate) fn found(self) -> Option<Found> {
        match self {
            Self::Found(found) => Some(found),
            Self::Unfit(_) | Self::Absent => None,
        }
    }
}

/// Looks for a PostgreSQL server; one that holds data is needed in the version that wrote them.
pub(crate) fn postgres(settings: &Settings, major: Option<u32>) -> Search {
    let mut result = match &settings.pg_bin {
        Some(named) => Search::Unfit(format!("$PG_BIN, {}, without programs", named.display())),
        None => Search::Absent,
    };
    for bin in postgres_folders(settings) {
        let complete = ["postgres", "initdb", "psql"].iter().all(|name| bin.join(name).is_file());
        let Some(version) = complete.then(|| version_of(&bin.join("postgres"))).flatten() else {
            continue;
        };
        let found = first_number(&version);
        let fits = match major {
            Some(major) => found == Some(major),
            None => found.is_some_and(|found| found >= POSTGRES_OLDEST),
        };
        if fits {
            return Search::Found(Found { path: bin, version });
        }
        result = Search::Unfit(format!("PostgreSQL {version} in {}", bin.display()));
    }
    result
}

/// Looks for a Redis server, or Valkey, which speaks the same.
pub(crate) fn redis(settings: &Settings) -> Search {
    let mut result = Search::Absent;
    let named = ["redis-server", "valkey-server"].map(|name| in_path(settings, name));
    let fetched = wheel::REDIS.bin(settings).join("valkey-server");
    for path in named.into_iter().flatten().chain(fetched.is_file().then_some(fetched)) {
        let Some(version) = version_of(&path) else { continue };
        if first_number(&version).is_some_and(|found| found >= REDIS_OLDEST) {
            return Search::Found(Found { path, version });
        }
        result = Search::Unfit(format!("{} {version}", path.display()));
    }
    result
}

/// Looks for a program in PATH and in the folders that a PATH may lack.
pub(crate) fn in_path(settings: &Settings, name: &str) -> Option<PathBuf> {
    std::env::split_paths(&settings.path)
        .chain(["/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Makes sure that processes can be tied to their parent.
pub(crate) fn require_setpriv(settings: &Settings) -> Result<()> {
    if in_path(settings, "setpriv").is_none() {
        bail!("setpriv is missing, which ends every part with its supervisor; {SETPRIV_MEND}");
    }
    Ok(())
}

/// What brings `setpriv`.
pub(crate) const SETPRIV_MEND: &str = "install the package util-linux (Syncline runs on Linux)";

/// The version that a program says it has, without the words around it.
pub(crate) fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace()
        .map(|word| word.strip_prefix("v=").unwrap_or(word))
        .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))
        .map(str::to_owned)
}

/// The first number of a version.
pub(crate) fn first_number(version: &str) -> Option<u32> {
    let digits = version.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// A user that PostgreSQL may run as where root may not run it.
pub(crate) fn postgres_user() -> Result<String> {
    let known = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    if known.lines().any(|line| line.starts_with("postgres:")) {
        return Ok("postgres".to_owned());
    }
    bail!(
        "PostgreSQL refuses to run as root and there is no user `postgres`; mend it with: \
         useradd --system --user-group --no-create-home postgres"
    )
}

/// Folders that may hold PostgreSQL: a named one alone, else the newest of the usual ones first.
fn postgres_folders(settings: &Settings) -> Vec<PathBuf> {
    if let Some(named) = &settings.pg_bin {
        return vec![named.clone()];
    }
    let mut folders = Vec::new();
    if let Some(config) = in_path(settings, "pg_config") {
        let output = Command::new(config).arg("--bindir").stdin(Stdio::null()).output();
        if let Some(output) = output.ok().filter(|output| output.status.success()) {
            folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        }
    }
    folders.extend(versioned("/usr/lib/postgresql", "", "bin"));
    folders.extend(versioned("/usr", "pgsql-", "bin"));
    folders
        .extend(in_path(settings, "initdb").and_then(|path| path.parent().map(Path::to_path_buf)));
    folders.push(wheel::POSTGRES.bin(settings));
    folders
}

/// Folders `<base>/<prefix><number>/<end>`, the highest number first.
fn versioned(base: &str, prefix: &str, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    let mut numbered: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, path.join(end)))
        })
        .collect();
    numbered.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    numbered.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_versions_are_read() {
        assert_eq!(first_number("15.18"), Some(15));
        assert_eq!(first_number("17beta1"), Some(17));
        assert_eq!(first_number("edge"), None);
    }

    #[test]
    fn a_named_folder_without_programs_is_not_replaced_by_another() {
        let settings = Settings { pg_bin: Some("/nonexistent".into()), ..Settings::for_tests() };
        assert!(matches!(postgres(&settings, None), Search::Unfit(_)));
    }
}
