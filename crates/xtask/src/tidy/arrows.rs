//! Who may depend on whom: arrows point down only, and pure crates stay pure.

use crate::workspace::{Kind, Package};

use super::rust::{names, parts};
use super::tree::{Finding, Tree};

/// What each package may use of ours. A package that is not here may use nothing.
///
/// ```text
/// services      catalog  pricing  warehouse  relay  search-indexer  gateway  never each other
/// shells        records -> outbox -> bus <- inbox   cache   service-kit      async: SQL, HTTP, ...
/// decisions     protocol                                  pure: no runtime, clock, randomness
/// leaves        contracts
/// beside        testkit (for tests alone)  tests  bench  cli  xtask
/// ```
const ARROWS: &[(&str, &[&str])] = &[
    ("contracts", &[]),
    ("protocol", &["contracts"]),
    ("bus", &["contracts"]),
    ("outbox", &["contracts", "protocol", "bus"]),
    ("inbox", &["contracts", "protocol", "bus"]),
    ("service-kit", &["contracts"]),
    ("records", &["contracts", "outbox", "service-kit"]),
    ("cache", &["protocol"]),
    ("catalog", &["contracts", "protocol", "bus", "outbox", "inbox", "service-kit", "records"]),
    ("pricing", &["contracts", "protocol", "bus", "outbox", "inbox", "service-kit", "records"]),
    ("warehouse", &["contracts", "protocol", "bus", "outbox", "inbox", "service-kit", "records"]),
    ("relay", &["contracts", "protocol", "bus", "outbox", "inbox", "service-kit"]),
    ("search-indexer", &["contracts", "protocol", "bus", "inbox", "service-kit"]),
    ("gateway", &["contracts", "protocol", "bus", "inbox", "service-kit", "cache"]),
    ("testkit", &["contracts", "bus", "outbox", "inbox"]),
    ("tests", &["contracts", "protocol", "testkit"]),
    (
        "bench",
        &["contracts", "bus", "outbox", "inbox", "cache", "service-kit", "catalog", "testkit"],
    ),
    ("cli", &["contracts"]),
    ("xtask", &[]),
];

/// What only the tests of a package may use besides: [`TESTKIT`] in all but the pure ones.
const TEST_ARROWS: &[(&str, &[&str])] = &[
    ("cache", &["contracts"]), // its race is run by the clock that judges freshness
    ("inbox", &["outbox", "records", "service-kit"]), // tested against a real owner
    ("search-indexer", &["outbox"]), // and so is what it finds
    ("gateway", &["outbox"]),  // and what it shows
];

/// Only tests may use it.
const TESTKIT: &str = "testkit";

/// Crates without a runtime, a clock, randomness or a driver, and all that they may use.
const PURE: &[(&str, &[&str])] = &[
    (
        "contracts",
        &["bytes", "chrono", "serde", "serde_json", "serde-saphyr", "sha2", "thiserror", "uuid"],
    ),
    ("protocol", &["contracts", "thiserror"]),
];

/// Names by which a pure crate would reach the world through what it may use.
const IMPURE: &[&str] = &[
    "async",
    "await",
    "Instant",
    "SystemTime",
    "Utc::now",
    "Local::now",
    "new_v4",
    "now_v7",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "rand",
];

/// Every arrow between our packages stands in the table.
pub(super) fn arrows_point_down(tree: &Tree) -> Vec<Finding> {
    let ours: Vec<&str> = tree.packages.iter().map(|package| package.name.as_str()).collect();
    tree.packages.iter().flat_map(|package| arrows_of(package, &ours)).collect()
}

fn arrows_of(package: &Package, ours: &[&str]) -> Vec<Finding> {
    let path = format!("{}/Cargo.toml", package.folder);
    let Some(allowed) = listed(ARROWS, &package.name) else {
        return vec![Finding::file(&path, "has no row in the table of arrows (tidy/arrows.rs)")];
    };
    let for_tests = listed(TEST_ARROWS, &package.name).unwrap_or_default();
    let pure = listed(PURE, &package.name).is_some();
    let wrong = package.dependencies.iter().filter(|dependency| {
        let name = dependency.name.as_str();
        let tests = dependency.kind == Kind::Dev && package.name != "xtask";
        let allowed = allowed.contains(&name)
            || tests && (for_tests.contains(&name) || name == TESTKIT && !pure);
        ours.contains(&name) && !allowed
    });
    wrong.map(|d| Finding::file(&path, format!("may not depend on {}", d.name))).collect()
}

/// The pure crates depend on nothing but their list and name nothing of the outside world.
pub(super) fn pure_crates_are_pure(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let Some(allowed) = listed(PURE, &package.name) else { continue };
        let manifest = format!("{}/Cargo.toml", package.folder);
        let foreign = package.uses(Kind::Normal).chain(package.uses(Kind::Build));
        findings.extend(
            foreign.filter(|name| !allowed.contains(name)).map(|name| {
                Finding::file(&manifest, format!("is pure and may not depend on {name}"))
            }),
        );
        for file in tree.below(&format!("{}/src", package.folder), "rs") {
            if file.is_test() {
                continue;
            }
            let code = parts(file.without_tests()).code;
            for (number, line) in (1..).zip(code.lines()) {
                findings.extend(IMPURE.iter().filter(|word| names(line, word)).map(|word| {
                    Finding::line(&file.path, number, format!("pure code may not name `{word}`"))
                }));
            }
        }
    }
    findings
}

fn listed<'a>(table: &[(&str, &'a [&'a str])], package: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(name, _)| *name == package).map(|(_, list)| *list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::sample::{package, tree};

    fn arrows(packages: Vec<Package>) -> usize {
        arrows_point_down(&Tree { packages, ..Tree::default() }).len()
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_found() {
        let contracts = package("crates/contracts", &[]);
        let bus = package("crates/bus", &[("contracts", Kind::Normal), ("tokio", Kind::Normal)]);
        assert_eq!(arrows(vec![contracts.clone(), bus.clone()]), 0);
        let upwards = package("crates/contracts", &[("bus", Kind::Normal)]);
        assert_eq!(arrows(vec![upwards, bus.clone()]), 1);
        let sideways = package("services/catalog", &[("relay", Kind::Normal)]);
        assert_eq!(arrows(vec![sideways, package("services/relay", &[])]), 1);
        assert_eq!(arrows(vec![package("crates/shared", &[])]), 1);
    }

    #[test]
    fn the_testkit_is_for_tests_alone_and_not_for_pure_crates() {
        let testkit = package("crates/testkit", &[]);
        let of = |folder, kind| vec![testkit.clone(), package(folder, &[("testkit", kind)])];
        assert_eq!(arrows(of("services/catalog", Kind::Dev)), 0);
        assert_eq!(arrows(of("services/catalog", Kind::Normal)), 1);
        assert_eq!(arrows(of("crates/protocol", Kind::Dev)), 1);
        assert_eq!(arrows(of("crates/xtask", Kind::Dev)), 1);
    }

    #[test]
    fn a_pure_crate_that_takes_a_runtime_or_reads_the_clock_is_found() {
        let clean = "//! Pure.\n// Instant\nfn step() { \"Instant\"; }\n";
        let mut tree = tree(&[("crates/protocol/src/lib.rs", clean)]);
        tree.packages = vec![package("crates/protocol", &[("thiserror", Kind::Normal)])];
        assert_eq!(pure_crates_are_pure(&tree).len(), 0);
        tree.packages = vec![package("crates/protocol", &[("tokio", Kind::Normal)])];
        tree.files[0].text.push_str("use std::time::Instant;\n");
        assert_eq!(pure_crates_are_pure(&tree).len(), 2);
    }
}
