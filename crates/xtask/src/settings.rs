//! What the machine tells the developer's commands through its environment, read once.

use std::path::PathBuf;

/// Settings from the environment; each is also an option, so that tests need not set variables.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    /// Folder with `postgres`, `initdb` and `psql`.
    #[arg(long, env = "PG_BIN", global = true, hide = true)]
    pub(crate) pg_bin: Option<PathBuf>,
    /// The Dapr sidecar's program.
    #[arg(long, env = "DAPRD", global = true, hide = true)]
    pub(crate) daprd: Option<PathBuf>,
    /// Set by CI: nothing is asked.
    #[arg(long, env = "CI", global = true, hide = true, default_value = "")]
    pub(crate) ci: String,
    /// The user's folder.
    #[arg(long, env = "HOME", global = true, hide = true, default_value = "/")]
    pub(crate) user_home: PathBuf,
    /// Where built things are kept, `~/.cache` unless set.
    #[arg(long, env = "XDG_CACHE_HOME", global = true, hide = true)]
    pub(crate) xdg_cache_home: Option<PathBuf>,
    /// Where programs are looked for.
    #[arg(long, env = "PATH", global = true, hide = true, default_value = "")]
    pub(crate) path: String,
    /// The program that builds, set by cargo itself.
    #[arg(long, env = "CARGO", global = true, hide = true, default_value = "cargo")]
    pub(crate) cargo: PathBuf,
}

impl Settings {
    /// Whether nobody is there to be asked.
    pub(crate) fn is_ci(&self) -> bool {
        !matches!(self.ci.as_str(), "" | "0" | "false")
    }

    /// Where Syncline keeps what it built.
    pub(crate) fn cache(&self) -> PathBuf {
        let base = self.xdg_cache_home.clone().unwrap_or_else(|| self.user_home.join(".cache"));
        base.join("syncline")
    }

    /// Settings of a machine that says nothing.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            pg_bin: None,
            daprd: None,
            ci: String::new(),
            user_home: "/nonexistent".into(),
            xdg_cache_home: None,
            path: String::new(),
            cargo: "cargo".into(),
        }
    }
}
