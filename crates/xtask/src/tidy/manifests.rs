//! What every `Cargo.toml` must say, and that what it asks for is really used.

use crate::workspace::{Kind, Package};

use super::rust::{names, parts};
use super::tree::{Finding, Tree};

/// Packages that the mesh is built on: some package's own code must name each of them.
const REQUIRED: &[&str] = &[
    "axum",
    "dapr",
    "deadpool-postgres",
    "opentelemetry",
    "redis",
    "serde",
    "tokio",
    "tracing-opentelemetry",
    "uuid",
    "validator",
];

/// Every package takes the workspace's lints.
pub(super) fn lints_are_inherited(tree: &Tree) -> Vec<Finding> {
    let manifests = manifests(tree);
    let without = manifests.filter(|(_, text)| !text.contains("[lints]\nworkspace = true\n"));
    without
        .map(|(path, _)| Finding::file(path, "does not say `[lints] workspace = true`"))
        .collect()
}

/// Every dependency takes its version from the workspace.
pub(super) fn versions_are_shared(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in manifests(tree) {
        let mut inside = false;
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(section) = line.strip_prefix('[') {
                inside = section.contains("dependencies");
            }
            let asks = inside && line.contains('=') && !line.starts_with('#');
            if asks && !line.contains("workspace = true") {
                findings.push(Finding::line(path, number, "takes no version from the workspace"));
            }
        }
    }
    findings
}

/// No package has features: what is tested is what is shipped.
pub(super) fn no_features(tree: &Tree) -> Vec<Finding> {
    let with = manifests(tree).filter(|(_, text)| {
        text.lines().any(|line| line == "[features]" || line.contains("optional = true"))
    });
    with.map(|(path, _)| Finding::file(path, "has features; no package of ours has")).collect()
}

/// Every dependency is named by the code that asks for it.
pub(super) fn dependencies_are_used(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let code = code(tree, package);
        findings.extend(package.dependencies.iter().filter_map(|dependency| {
            let name = dependency.name.as_str();
            let used = names(&code, &name.replace('-', "_"));
            let path = format!("{}/Cargo.toml", package.folder);
            (!used).then(|| Finding::file(&path, format!("asks for {name}, which no code names")))
        }));
    }
    findings
}

/// Each required package is called by code that runs in a service: not by tests or tools, and not
/// by a module of ours that has the same name.
pub(super) fn required_packages_are_used(tree: &Tree) -> Vec<Finding> {
    let running = running(tree);
    let missing = REQUIRED.iter().filter(|required| {
        let path = format!("{}::", required.replace('-', "_"));
        !running.iter().any(|package| {
            package.uses(Kind::Normal).any(|name| name == **required)
                && begins_a_path(&running_code(tree, package), &path)
        })
    });
    missing
        .map(|name| Finding::file("Cargo.toml", format!("no service really calls {name}")))
        .collect()
}

/// The services, and all packages of ours that they are made of.
fn running(tree: &Tree) -> Vec<&Package> {
    let mut running: Vec<&Package> =
        tree.packages.iter().filter(|package| package.is_service()).collect();
    let mut at = 0;
    while let Some(package) = running.get(at) {
        let parts: Vec<&str> = package.uses(Kind::Normal).collect();
        for part in tree.packages.iter().filter(|part| parts.contains(&part.name.as_str())) {
            if !running.iter().any(|known| known.name == part.name) {
                running.push(part);
            }
        }
        at += 1;
    }
    running
}

/// The code of a package without tests.
fn running_code(tree: &Tree, package: &Package) -> String {
    let files = tree.below(&package.folder, "rs").filter(|file| !file.is_test());
    files.map(|file| parts(file.without_tests()).code).collect()
}

/// Whether a path of the code begins so, and does not only go through a module of that name.
fn begins_a_path(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code.get(..at).unwrap_or_default();
        let is_longer = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        !is_longer && !["crate::", "self::", "super::"].iter().any(|own| before.ends_with(own))
    })
}

/// The packages' manifests.
fn manifests(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.packages.iter().filter_map(|package| {
        let file = tree.file(&format!("{}/Cargo.toml", package.folder))?;
        Some((file.path.as_str(), file.text.as_str()))
    })
}

/// All code of a package, tests included.
fn code(tree: &Tree, package: &Package) -> String {
    tree.below(&package.folder, "rs").map(|file| parts(&file.text).code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::sample::{package, tree};

    fn manifest(text: &str) -> Tree {
        let mut tree = tree(&[("crates/bus/Cargo.toml", text)]);
        tree.packages = vec![package("crates/bus", &[])];
        tree
    }

    #[test]
    fn a_package_without_the_lints_is_found() {
        assert_eq!(lints_are_inherited(&manifest("[lints]\nworkspace = true\n")).len(), 0);
        assert_eq!(lints_are_inherited(&manifest("[package]\nname = \"bus\"\n")).len(), 1);
    }

    #[test]
    fn a_version_of_its_own_is_found() {
        let shared = "[dependencies]\na.workspace = true\nb = { workspace = true }\n";
        assert_eq!(versions_are_shared(&manifest(shared)).len(), 0);
        let own = "[package]\nversion = \"1\"\n[dev-dependencies]\na = \"1.0\"\n";
        assert_eq!(versions_are_shared(&manifest(own)).len(), 1);
    }

    #[test]
    fn features_are_found() {
        assert_eq!(no_features(&manifest("[dependencies]\n")).len(), 0);
        assert_eq!(no_features(&manifest("[features]\ndefault = []\n")).len(), 1);
    }

    #[test]
    fn a_dependency_that_no_code_names_is_found() {
        let mut tree = tree(&[("crates/bus/src/lib.rs", "use tracing_opentelemetry::layer;")]);
        tree.packages = vec![package("crates/bus", &[("tracing-opentelemetry", Kind::Normal)])];
        assert_eq!(dependencies_are_used(&tree).len(), 0);
        tree.files[0].text = "// tracing_opentelemetry\n".to_owned();
        assert_eq!(dependencies_are_used(&tree).len(), 1);
    }

    /// Covers: A2.
    #[test]
    fn required_packages_that_no_service_calls_are_found() {
        let source = "use axum::Router;\nuse crate::redis::Link;\n";
        let mut tree = tree(&[("crates/bus/src/lib.rs", source)]);
        let both = [("axum", Kind::Normal), ("redis", Kind::Normal)];
        let service = package("services/shop", &[("bus", Kind::Normal)]);
        tree.packages = vec![package("crates/bus", &both)];
        assert_eq!(required_packages_are_used(&tree).len(), REQUIRED.len(), "nothing runs");
        tree.packages.push(service);
        assert_eq!(required_packages_are_used(&tree).len(), REQUIRED.len() - 1, "a module of ours");
        tree.files[0].text.push_str("use redis::Script;\n");
        assert_eq!(required_packages_are_used(&tree).len(), REQUIRED.len() - 2);
        tree.files[0].path = "crates/bus/tests/it/main.rs".to_owned();
        assert_eq!(required_packages_are_used(&tree).len(), REQUIRED.len(), "only tests");
    }
}
