//! The workspace as cargo sees it: its root, its packages and what each depends on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// One package of the workspace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Folder below the root, with `/` between parts.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a package's dependency tables.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// Which table a dependency stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Dev,
    Build,
}

impl Package {
    /// Names of its dependencies of one kind.
    pub(crate) fn uses(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.dependencies.iter().filter(move |d| d.kind == kind).map(|d| d.name.as_str())
    }

    /// Whether it is one of the services.
    pub(crate) fn is_service(&self) -> bool {
        self.folder.starts_with("services/")
    }
}

/// The clone that this program was built from.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_path_buf()
}

/// The workspace's packages, sorted by name.
pub(crate) fn packages(cargo: &Path, root: &Path) -> Result<Vec<Package>> {
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cannot read cargo metadata")?;
    let mut packages: Vec<Package> =
        metadata.packages.into_iter().map(|raw| raw.package(&metadata.workspace_root)).collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<RawDependency>,
}

#[derive(Deserialize)]
struct RawDependency {
    name: String,
    kind: Option<String>,
}

impl RawPackage {
    fn package(self, root: &Path) -> Package {
        let folder = self.manifest_path.parent().and_then(|path| path.strip_prefix(root).ok());
        let folder = folder.map(|path| path.to_string_lossy().replace('\\', "/"));
        let dependencies = self.dependencies.into_iter().map(|raw| Dependency {
            name: raw.name,
            kind: match raw.kind.as_deref() {
                Some("dev") => Kind::Dev,
                Some("build") => Kind::Build,
                _ => Kind::Normal,
            },
        });
        Package {
            name: self.name,
            folder: folder.unwrap_or_default(),
            dependencies: dependencies.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_lists_this_package_and_its_dependencies() {
        let packages = packages(Path::new("cargo"), &root()).unwrap();
        let xtask = packages.iter().find(|package| package.name == "xtask").unwrap();
        assert_eq!(xtask.folder, "crates/xtask");
        assert!(xtask.uses(Kind::Normal).any(|name| name == "anyhow"));
    }
}
