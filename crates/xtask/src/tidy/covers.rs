//! Marks above tests that say which requirements they cover: `Covers: M1, M33.` in the test's
//! documentation, with ids of the list of requirements.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::tree::{File, Finding, Tree};

/// An id and what it asks for, one a line.
const LIST: &str = "tests/covered.txt";
/// How a mark begins, after the slashes of a documentation line.
const MARK: &str = " Covers: ";

/// One mark.
#[derive(Debug, PartialEq, Eq)]
struct Mark<'a> {
    line: usize,
    ids: Vec<&'a str>,
    /// The test that stands under it.
    test: Option<&'a str>,
}

/// Marks stand on tests and name listed requirements, and each listed one is covered.
pub(super) fn marks_are_true(tree: &Tree) -> Vec<Finding> {
    let listed: BTreeMap<&str, &str> = listed(tree).collect();
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        for mark in marks(file) {
            if mark.test.is_none() {
                let message = "says what it covers and is no test";
                findings.push(Finding::line(&file.path, mark.line, message));
            }
            for id in mark.ids.iter().filter(|id| !listed.contains_key(**id)) {
                let message = format!("covers {id}, which is not in {LIST}");
                findings.push(Finding::line(&file.path, mark.line, message));
            }
        }
    }
    let covered = covered(tree);
    let bare = listed.keys().filter(|id| !covered.contains_key(**id));
    findings.extend(bare.map(|id| Finding::file(LIST, format!("no test covers {id}"))));
    findings
}

/// Every listed requirement with the tests that cover it.
pub(super) fn listing(tree: &Tree) -> String {
    let covered = covered(tree);
    let mut told = String::new();
    for (id, sentence) in listed(tree) {
        let _ = writeln!(told, "{id}  {sentence}");
        for test in covered.get(id).into_iter().flatten() {
            let _ = writeln!(told, "      {test}");
        }
    }
    let tests = covered.values().map(Vec::len).sum::<usize>();
    let _ = writeln!(told, "{} requirements, {tests} marks", covered.len());
    told
}

fn covered(tree: &Tree) -> BTreeMap<&str, Vec<String>> {
    let mut covered: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        for mark in marks(file) {
            let Some(test) = mark.test else { continue };
            for id in mark.ids {
                covered.entry(id).or_default().push(format!("{} {test}", file.path));
            }
        }
    }
    covered
}

fn listed(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    let lines = tree.file(LIST).map_or("", |file| file.text.as_str()).lines();
    lines.filter_map(|line| line.split_once(' ')).map(|(id, text)| (id, text.trim()))
}

fn marks(file: &File) -> Vec<Mark<'_>> {
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let marked = lines.iter().enumerate().filter_map(|(at, line)| {
        let ids = line.strip_prefix("///")?.strip_prefix(MARK)?.trim_end_matches('.');
        let below = lines.get(at..).unwrap_or_default();
        Some(Mark { line: at + 1, ids: ids.split(", ").collect(), test: test(below) })
    });
    marked.collect()
}

/// The name of the function that these lines document, if it is a test.
fn test<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let head = lines.iter().take_while(|line| line.starts_with("///") || line.starts_with("#["));
    let attributes: Vec<_> = head.collect();
    let is_test = |line: &&&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    attributes.iter().find(|line| is_test(line))?;
    let (_, function) = lines.get(attributes.len())?.split_once("fn ")?;
    function.split_once('(').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::sample::tree;

    fn source(ids: &str, attribute: &str) -> String {
        format!("    ///{MARK}{ids}.\n    {attribute}\n    async fn it_works() {{}}\n")
    }

    fn found(list: &str, source: &str) -> usize {
        marks_are_true(&tree(&[(LIST, list), ("crates/a/tests/it/b.rs", source)])).len()
    }

    #[test]
    fn a_mark_of_an_unknown_requirement_is_found() {
        let list = "M1 how long\nM2 how often\n";
        assert_eq!(found(list, &source("M1, M2", "#[tokio::test]")), 0);
        assert_eq!(found(list, &source("M1, M2, M9", "#[test]")), 1);
    }

    #[test]
    fn a_mark_on_something_that_is_no_test_is_found() {
        // The requirement is covered by nothing then, either.
        assert_eq!(found("M1 how long\n", &source("M1", "#[expect(dead_code)]")), 2);
    }

    #[test]
    fn a_requirement_that_is_listed_and_covered_by_nothing_is_found() {
        assert_eq!(found("M1 how long\nM2 how often\n", &source("M1", "#[test]")), 1);
    }

    #[test]
    fn the_listing_names_the_tests() {
        let source = source("M1", "#[test]");
        let tree = tree(&[(LIST, "M1 how long\n"), ("crates/a/tests/it/b.rs", &source)]);
        let expected = "M1  how long\n      crates/a/tests/it/b.rs it_works\n\
                        1 requirements, 1 marks\n";
        assert_eq!(listing(&tree), expected);
    }
}
