//! How Rust files look: heads, lengths, names, constructs that the house does without.

use super::rust::{names, parts};
use super::tree::{File, Finding, Tree};

const LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;

/// Words that say nothing about what a thing is.
const EMPTY_WORDS: &[&str] =
    &["manager", "helper", "util", "utils", "processor", "data", "info", "common"];

/// Every file opens by saying what it is.
pub(super) fn heads(tree: &Tree) -> Vec<Finding> {
    let without = rust(tree).filter(|file| !file.text.starts_with("//! "));
    without.map(|file| Finding::file(&file.path, "does not begin with `//!`")).collect()
}

/// No file is longer than can be read in one go; tests do not count.
pub(super) fn lengths(tree: &Tree) -> Vec<Finding> {
    let files = rust(tree).filter(|file| !file.is_test());
    let counted = files.map(|file| (file, file.without_tests().lines().count()));
    let long = counted.filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(file, lines)| {
        Finding::file(&file.path, format!("has {lines} lines without tests, {LINES_MAX} allowed"))
    })
    .collect()
}

/// No line is wider than the formatter's.
pub(super) fn columns(tree: &Tree) -> Vec<Finding> {
    let files = tree.files.iter().filter(|file| file.is_rust() || file.path.ends_with(".sql"));
    let mut findings = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                let message = format!("is {columns} columns wide, {COLUMNS_MAX} allowed");
                findings.push(Finding::line(&file.path, number, message));
            }
        }
    }
    findings
}

/// No file and no type is named with a word that says nothing.
pub(super) fn names_say_something(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in rust(tree) {
        let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        if let Some(word) = stem.split(['_', '-']).find(|word| is_empty_word(word)) {
            findings.push(Finding::file(&file.path, format!("has `{word}` in its name")));
        }
        for (number, line) in (1..).zip(parts(&file.text).code.lines()) {
            let Some(name) = declared_type(line) else { continue };
            if let Some(word) = camel_words(name).into_iter().find(|word| is_empty_word(word)) {
                let message = format!("the type {name} has `{word}` in its name");
                findings.push(Finding::line(&file.path, number, message));
            }
        }
    }
    findings
}

fn is_empty_word(word: &str) -> bool {
    EMPTY_WORDS.contains(&word.to_lowercase().as_str())
}

/// The type that a line declares, if it declares one; an indented `type` belongs to a trait, and
/// may have its name from elsewhere.
fn declared_type(line: &str) -> Option<&str> {
    if line.starts_with(char::is_whitespace) && line.trim_start().starts_with("type ") {
        return None;
    }
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    let mut keyword = words.next()?;
    while matches!(keyword, "unsafe" | "auto") || keyword.ends_with(')') {
        keyword = words.next()?;
    }
    if !matches!(keyword, "struct" | "enum" | "trait" | "type" | "union") {
        return None;
    }
    words.next()?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// `HttpInfo` is `Http` and `Info`.
fn camel_words(name: &str) -> Vec<&str> {
    let mut starts: Vec<usize> =
        name.char_indices().filter(|(_, c)| c.is_uppercase()).map(|(at, _)| at).collect();
    starts.push(name.len());
    starts.windows(2).filter_map(|pair| name.get(*pair.first()?..*pair.last()?)).collect()
}

/// What the house does without, because it hides control flow or types.
pub(super) fn banned_constructs(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in rust(tree) {
        for (number, line) in (1..).zip(parts(&file.text).code.lines()) {
            for word in ["async_trait", "macro_rules"] {
                if names(line, word) {
                    let message = format!("uses {word}; a function or a boxed future will do");
                    findings.push(Finding::line(&file.path, number, message));
                }
            }
        }
    }
    findings
}

/// Metric names begin with their package and end with their unit.
pub(super) fn metric_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in rust(tree).filter(|file| file.path.ends_with("/src/metrics.rs")) {
        let Some(package) = tree.package_of(&file.path) else { continue };
        let prefix = format!("{}_", package.name.replace('-', "_"));
        for literal in parts(file.without_tests()).literals {
            let name = literal.text.as_str();
            let unit = ["_total", "_seconds", "_bytes"].iter().any(|unit| name.ends_with(unit));
            if unit && !name.contains(' ') && !name.starts_with(&prefix) {
                let message = format!("the metric {name} does not begin with {prefix}");
                findings.push(Finding::line(&file.path, literal.line, message));
            }
        }
    }
    findings
}

/// The document that describes the metrics, in a table.
const DOCUMENT: &str = "ARCHITECTURE.md";

/// Every metric that is counted is documented, and every documented one is counted. What is counted
/// gets its unit as a suffix where it is shown.
pub(super) fn metrics_are_documented(tree: &Tree) -> Vec<Finding> {
    let document = tree.file(DOCUMENT).map_or("", |file| file.text.as_str());
    let rows = document.split_once("| metric |").map_or("", |(_, table)| table).lines().skip(2);
    let names = rows.map_while(|row| row.strip_prefix("| `")?.split_once('`'));
    let documented: Vec<&str> = names.map(|(name, _)| name).collect();
    let (mut findings, mut counted) = (Vec::new(), Vec::new());
    for file in rust(tree).filter(|file| file.path.ends_with("/src/metrics.rs")) {
        for literal in parts(file.without_tests()).literals {
            // Names have several words; labels and their values have one, or hyphens.
            if !literal.text.contains('_') || literal.text.contains(' ') {
                continue;
            }
            let is_shown = |name: &&str| {
                let suffix = name.strip_prefix(literal.text.as_str());
                suffix.is_some_and(|suffix| ["", "_total", "_seconds"].contains(&suffix))
            };
            match documented.iter().find(|name| is_shown(name)) {
                Some(name) => counted.push(*name),
                None => {
                    let message = format!("{DOCUMENT} does not know the metric {}", literal.text);
                    findings.push(Finding::line(&file.path, literal.line, message));
                }
            }
        }
    }
    let idle = documented.iter().filter(|name| !counted.contains(name));
    findings.extend(idle.map(|name| Finding::file(DOCUMENT, format!("nothing counts {name}"))));
    findings
}

fn rust(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files.iter().filter(|file| file.is_rust())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::sample::{package, tree};

    fn found(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> usize {
        rule(&tree(&[(path, text)])).len()
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        assert_eq!(found(heads, "crates/a/src/lib.rs", "//! A thing.\nuse b;\n"), 0);
        assert_eq!(found(heads, "crates/a/src/lib.rs", "use b;\n//! A thing.\n"), 1);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let code = "fn a() {}\n".repeat(LINES_MAX);
        let tests = format!("{code}#[cfg(test)]\nmod tests {{\n}}\n");
        assert_eq!(found(lengths, "crates/a/src/lib.rs", &tests), 0);
        assert_eq!(found(lengths, "crates/a/tests/it/main.rs", &code.repeat(2)), 0);
        assert_eq!(found(lengths, "crates/a/src/lib.rs", &format!("{code}\n")), 1);
    }

    #[test]
    fn a_wide_line_is_found() {
        assert_eq!(found(columns, "a.rs", &"ü".repeat(COLUMNS_MAX)), 0);
        assert_eq!(found(columns, "a.sql", &"a".repeat(COLUMNS_MAX + 1)), 1);
    }

    #[test]
    fn empty_words_in_names_are_found() {
        let rule = names_say_something;
        assert_eq!(found(rule, "crates/a/src/metadata.rs", "pub struct Metadata;\n"), 0);
        assert_eq!(found(rule, "crates/a/src/http_helper.rs", ""), 1);
        assert_eq!(found(rule, "crates/a/src/lib.rs", "pub(crate) struct HttpInfo<'a> {\n"), 1);
        assert_eq!(found(rule, "crates/a/src/lib.rs", "type Data = ();\n"), 1);
        assert_eq!(found(rule, "crates/a/src/lib.rs", "// struct Data\n"), 0);
    }

    #[test]
    fn banned_constructs_are_found() {
        assert_eq!(found(banned_constructs, "a.rs", "/// no macro_rules! here\nfn a() {}\n"), 0);
        assert_eq!(found(banned_constructs, "a.rs", "macro_rules! a { () => {} }\n"), 1);
        assert_eq!(found(banned_constructs, "a.rs", "#[async_trait]\n"), 1);
    }

    #[test]
    fn a_metric_of_another_package_is_found() {
        let text = "const A: &str = \"inbox_changes_total\";\nconst B: &str = \"total\";\n";
        let mut tree = tree(&[("crates/inbox/src/metrics.rs", text)]);
        tree.packages = vec![package("crates/inbox", &[])];
        assert_eq!(metric_names(&tree).len(), 0);
        tree.files[0].text.push_str("const C: &str = \"outbox_changes_total\";\n");
        assert_eq!(metric_names(&tree).len(), 1);
    }

    #[test]
    fn a_metric_that_is_counted_or_documented_alone_is_found() {
        let table =
            "| metric | labels |\n|---|---|\n| `a_looks_total` | `b` |\n\n`a_fills_total`\n";
        let found = |counted: &str| {
            let code = format!("const A: &str = \"{counted}\";\nconst B: &str = \"b\";\n");
            let files = [(DOCUMENT, table), ("crates/a/src/metrics.rs", code.as_str())];
            metrics_are_documented(&tree(&files)).len()
        };
        assert_eq!(found("a_looks"), 0);
        assert_eq!(found("a_look"), 2);
        assert_eq!(found("a_fills"), 2);
    }
}
