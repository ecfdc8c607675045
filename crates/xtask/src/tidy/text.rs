//! What no file may contain, whatever its language, and what the documents may promise.

use std::path::Path;

use super::tree::{File, Finding, Tree};

/// Visible names at the top of the tree.
const TOP: &[&str] = &[
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "NOTICE",
    "README.md",
    "components",
    "crates",
    "docker-compose.yml",
    "k8s",
    "rust-toolchain.toml",
    "services",
    "tests",
];

/// Beginnings of paths that exist on one machine alone; in halves, so that this file passes.
const HOMES: &[(&str, &str)] = &[("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/"), ("/wo", "rk/")];

/// Places that packages come from; which one is used is each machine's own setting. In halves.
const REGISTRIES: &[(&str, &str)] = &[
    ("crates", ".io/"),
    ("index.crates", ".io"),
    ("proxy.golang", ".org"),
    ("sum.golang", ".org"),
    ("pypi", ".org"),
    ("registry.npmjs", ".org"),
    ("deb.debian", ".org"),
    ("repo1.maven", ".org"),
];

/// No file names a path of one machine.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut banned: Vec<String> = HOMES.iter().map(|(a, b)| format!("{a}{b}")).collect();
    if Path::new(&tree.root).components().count() > 2 {
        banned.push(tree.root.clone()); // a clone in `/src` must not forbid the word
    }
    lines_with(tree, &banned, "is a path of one machine")
}

/// No file says where packages are fetched from.
pub(super) fn registry_hosts(tree: &Tree) -> Vec<Finding> {
    let banned: Vec<String> = REGISTRIES.iter().map(|(a, b)| format!("{a}{b}")).collect();
    lines_with(tree, &banned, "is the host of a registry")
}

fn lines_with(tree: &Tree, banned: &[String], message: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in (1..).zip(file.text.lines()) {
            findings.extend(
                banned
                    .iter()
                    .filter(|text| begins_a_path(line, text))
                    .map(|text| Finding::line(&file.path, number, format!("`{text}` {message}"))),
            );
        }
    }
    findings
}

/// Whether `text` stands in the line and is not the middle of a longer path or name.
fn begins_a_path(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        let before = line.get(..at).and_then(|front| front.chars().next_back());
        let joined = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | '$');
        !text.starts_with('/') || !before.is_some_and(joined)
    })
}

/// Nothing lies at the top of the tree that a reader does not expect there.
pub(super) fn top_level(tree: &Tree) -> Vec<Finding> {
    let mut names: Vec<&str> =
        tree.files.iter().filter_map(|file| file.path.split('/').next()).collect();
    names.dedup();
    let strange = names.into_iter().filter(|name| !name.starts_with('.') && !TOP.contains(name));
    strange.map(|name| Finding::file(name, "is not a name of the top level")).collect()
}

/// Every `cargo x <command>` that a document promises is a command.
pub(super) fn documented_commands(tree: &Tree, commands: &[String]) -> Vec<Finding> {
    let documents = tree.files.iter().filter(|file| file.path.ends_with(".md"));
    documents.flat_map(|file| promises(file, commands)).collect()
}

fn promises(file: &File, commands: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        for rest in line.split("cargo x ").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
            let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            if word.starts_with(|c: char| c.is_ascii_lowercase())
                && !commands.iter().any(|command| command == word)
            {
                let message = format!("`cargo x {word}` is not a command");
                findings.push(Finding::line(&file.path, number, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::sample::tree;

    fn found(rule: fn(&Tree) -> Vec<Finding>, text: &str) -> usize {
        rule(&tree(&[("README.md", text)])).len()
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let home = format!("see {}me/ann/syncline", "/ho");
        assert_eq!(found(machine_paths, &home), 1);
        assert_eq!(found(machine_paths, "in /somewhere/else/target"), 1);
        assert_eq!(found(machine_paths, "in /var/lib/syncline, GET /api/home/x"), 0);
    }

    #[test]
    fn hosts_of_registries_are_found() {
        assert_eq!(found(registry_hosts, &format!("https://proxy.golang{}/x", ".org")), 1);
        assert_eq!(found(registry_hosts, "https://docs.dapr.io"), 0);
    }

    #[test]
    fn a_strange_name_at_the_top_is_found() {
        assert_eq!(top_level(&tree(&[("crates/a.rs", ""), (".ci/run", "")])).len(), 0);
        assert_eq!(top_level(&tree(&[("scripts/a.sh", "")])).len(), 1);
    }

    #[test]
    fn a_promised_command_that_does_not_exist_is_found() {
        let tree = tree(&[("README.md", "`cargo x up --detach`, `cargo x fly`, cargo x ...\n")]);
        assert_eq!(documented_commands(&tree, &["up".to_owned()]).len(), 1);
    }
}
