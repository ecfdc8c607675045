//! What the rules look at: every text file of the work tree and every package, read once.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::workspace::Package;

/// The work tree.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Absolute path of the work tree.
    pub(super) root: String,
    pub(super) files: Vec<File>,
    pub(super) packages: Vec<Package>,
}

/// One text file.
#[derive(Debug)]
pub(super) struct File {
    /// Path below the root, with `/` between parts.
    pub(super) path: String,
    pub(super) text: String,
}

/// Something a rule does not like.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    /// About a whole file.
    pub(super) fn file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: 0, message: message.into() }
    }

    /// About one line, counted from 1.
    pub(super) fn line(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.path, self.message)
        } else {
            write!(f, "{}:{}: {}", self.path, self.line, self.message)
        }
    }
}

/// Folders that are not part of the project's text.
const SKIPPED: &[&str] = &[".git", ".syncline", "target"];

impl Tree {
    pub(super) fn read(root: &Path, packages: Vec<Package>) -> Result<Self> {
        let mut tree = Self { root: root.display().to_string(), packages, files: Vec::new() };
        tree.walk(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn walk(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries = fs::read_dir(folder)
            .with_context(|| format!("cannot list the folder {}", folder.display()))?;
        for entry in entries {
            let entry = entry.context("cannot list a folder")?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if entry.file_type().context("cannot inspect a file")?.is_dir() {
                let skipped = prefix.is_empty() && SKIPPED.contains(&name.as_str());
                if !skipped {
                    self.walk(&entry.path(), &format!("{path}/"))?;
                }
            } else if let Ok(text) = fs::read_to_string(entry.path()) {
                self.files.push(File { path, text }); // what is not UTF-8 is not text
            }
        }
        Ok(())
    }

    /// The file at exactly this path.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Files below a folder that end in `.{extension}`.
    pub(super) fn below<'a>(
        &'a self,
        folder: &'a str,
        extension: &'a str,
    ) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| {
            let inside = file
                .path
                .strip_prefix(folder)
                .is_some_and(|rest| folder.is_empty() || rest.starts_with('/'));
            inside && file.path.rsplit_once('.').is_some_and(|(_, end)| end == extension)
        })
    }

    /// The package that a path belongs to.
    pub(super) fn package_of(&self, path: &str) -> Option<&Package> {
        self.packages.iter().find(|package| {
            path.strip_prefix(package.folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
        })
    }
}

impl File {
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is tests.
    pub(super) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// The text up to the unit tests at its foot.
    pub(super) fn without_tests(&self) -> &str {
        let mut start = 0;
        while let Some(found) = self.text.get(start..).and_then(|rest| rest.find("#[cfg(test)]\n"))
        {
            let at = start + found;
            let after = self.text.get(at..).unwrap_or_default();
            let module = after.lines().find(|line| !line.starts_with("#["));
            if module.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{')) {
                return self.text.get(..at).unwrap_or_default();
            }
            start = at + 1;
        }
        &self.text
    }
}

#[cfg(test)]
pub(super) mod sample {
    //! Small trees for the tests of the rules.

    use super::{File, Tree};
    use crate::workspace::{Dependency, Kind, Package};

    /// A tree of these files, without packages.
    pub(in crate::tidy) fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Tree {
            root: "/somewhere/else".to_owned(),
            files: files.iter().map(file).collect(),
            packages: Vec::new(),
        }
    }

    /// A package with dependencies.
    pub(in crate::tidy) fn package(folder: &str, dependencies: &[(&str, Kind)]) -> Package {
        let dependency =
            |(name, kind): &(&str, Kind)| Dependency { name: (*name).to_owned(), kind: *kind };
        Package {
            name: folder.rsplit('/').next().unwrap_or(folder).to_owned(),
            folder: folder.to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sample::tree;

    #[test]
    fn tests_at_the_foot_do_not_count_and_a_declared_test_module_does_not_end_the_file() {
        let tree = tree(&[(
            "crates/a/src/lib.rs",
            "#[cfg(test)]\nmod tests;\nfn one() {}\n#[cfg(test)]\nmod more {\n}\n",
        )]);
        assert_eq!(tree.files[0].without_tests(), "#[cfg(test)]\nmod tests;\nfn one() {}\n");
    }

    #[test]
    fn a_folder_is_no_prefix_of_its_longer_neighbour() {
        let tree =
            tree(&[("crates/bus/a.rs", ""), ("crates/busy/a.rs", ""), ("crates/bus/a.sql", "")]);
        assert_eq!(tree.below("crates/bus", "rs").count(), 1);
    }
}
