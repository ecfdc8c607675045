//! A service's card, its contract files, its subscriptions and its routes say the same.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::workspace::Package;

use super::components::subscriptions;
use super::rust::parts;
use super::tree::{Finding, Tree};

/// What `src/domain*` may name, besides itself.
const DOMAIN_MAY_NAME: &[&str] =
    &["std", "contracts", "chrono", "rust_decimal", "thiserror", "super", "self"];

/// What a card says, each in one sentence.
const LABELS: &[&str] = &["Owns:", "Publishes:", "Consumes:", "Serves:", "Promise:"];

/// Every service opens with its card.
pub(super) fn cards(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in services(tree) {
        let (path, card) = card(tree, service);
        for label in LABELS.iter().filter(|label| **label != "Promise:") {
            if !card.contains(label) {
                findings.push(Finding::file(&path, format!("its card has no `{label}`")));
            }
        }
    }
    findings
}

/// What a card publishes is what the contract files beside it describe.
pub(super) fn publishes_agree_with_contracts(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in services(tree) {
        let (path, card) = card(tree, service);
        let said: BTreeSet<String> = ticked(&card, "Publishes:").into_iter().collect();
        let mut described = BTreeSet::new();
        for file in tree.below(&format!("{}/contracts", service.folder), "yaml") {
            match serde_saphyr::from_str::<ContractFile>(&file.text) {
                Ok(contract) if contract.owner == service.name => {
                    described.insert(contract.topic);
                }
                Ok(contract) => {
                    let message = format!("is owned by {}, not by this service", contract.owner);
                    findings.push(Finding::file(&file.path, message));
                }
                Err(error) => findings.push(Finding::file(&file.path, error.to_string())),
            }
        }
        findings.extend(difference(&path, "publishes", &said, &described, "contract file"));
    }
    findings
}

/// What a card consumes is what the subscription files deliver to it.
pub(super) fn consumes_agree_with_subscriptions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (subscriptions, _) = subscriptions(tree);
    for service in services(tree) {
        let (path, card) = card(tree, service);
        let said = ticked(&card, "Consumes:").into_iter().collect();
        let mine = subscriptions.iter().filter(|(_, s)| s.scopes.contains(&service.name));
        let mine = mine.filter_map(|(_, s)| Some(s.spec.topic.rsplit_once('.')?.0.to_owned()));
        findings.extend(difference(&path, "consumes", &said, &mine.collect(), "subscription"));
    }
    findings
}

/// Every route of a card is a route in the code, and every public route of the code is on a card.
pub(super) fn serves_agree_with_routes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in services(tree) {
        let (path, card) = card(tree, service);
        let said: BTreeSet<String> =
            ticked(&card, "Serves:").iter().filter_map(|r| route(r)).collect();
        let mut packages = vec![service];
        packages.extend(tree.packages.iter().filter(|package| {
            service.dependencies.iter().any(|dependency| dependency.name == package.name)
        }));
        let all: BTreeSet<String> =
            packages.iter().flat_map(|p| literals(tree, &p.folder)).collect();
        findings.extend(said.iter().filter(|route| !all.contains(*route)).map(|route| {
            Finding::file(&path, format!("its card serves {route}, which no code routes"))
        }));
        let mut public = literals(tree, &format!("{}/src/http", service.folder));
        public.extend(literals(tree, &format!("{}/src/http.rs", service.folder)));
        public.retain(|literal| literal.starts_with("/api/"));
        findings.extend(public.difference(&said).map(|route| {
            Finding::file(&path, format!("the code routes {route}, which its card does not serve"))
        }));
    }
    findings
}

/// Business rules know no runtime, no database and no wire.
pub(super) fn domain_imports(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in services(tree) {
        let folder = format!("{}/src", service.folder);
        let domain = tree.below(&folder, "rs").filter(|file| {
            let rest = file.path.strip_prefix(&folder).unwrap_or_default();
            !file.is_test() && (rest == "/domain.rs" || rest.starts_with("/domain/"))
        });
        for file in domain {
            for (number, line) in (1..).zip(parts(file.without_tests()).code.lines()) {
                let Some(import) = line.trim_start().strip_prefix("use ") else { continue };
                let root = import.split([':', ';', ' ']).next().unwrap_or_default();
                if !import.starts_with("crate::domain") && !DOMAIN_MAY_NAME.contains(&root) {
                    let message = format!("business rules may not name `{root}`");
                    findings.push(Finding::line(&file.path, number, message));
                }
            }
        }
    }
    findings
}

/// What of a contract file concerns its place.
#[derive(Deserialize)]
pub(super) struct ContractFile {
    pub(super) owner: String,
    pub(super) topic: String,
}

fn services(tree: &Tree) -> impl Iterator<Item = &Package> {
    tree.packages.iter().filter(|package| package.is_service())
}

/// Path and text of a service's card, on one line.
fn card(tree: &Tree, service: &Package) -> (String, String) {
    let path = format!("{}/src/lib.rs", service.folder);
    let text = tree.file(&path).map(|file| file.text.as_str()).unwrap_or_default();
    let head = text.lines().map_while(|line| line.strip_prefix("//!"));
    let card = head.map(str::trim).collect::<Vec<_>>().join(" ");
    (path, card)
}

/// The code words that follow a label of a card, up to the next label.
fn ticked(card: &str, label: &str) -> Vec<String> {
    let Some((_, rest)) = card.split_once(label) else { return Vec::new() };
    let end = LABELS.iter().filter_map(|label| rest.find(label)).min().unwrap_or(rest.len());
    let mine = rest.get(..end).unwrap_or_default();
    mine.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `PUT /products/{sku}` has the route `/products/{sku}`; `GET` has none.
fn route(words: &str) -> Option<String> {
    let path = words.split_whitespace().last()?;
    let path = path.split('?').next()?;
    path.starts_with('/').then(|| path.to_owned())
}

/// String literals of the Rust files below a folder, or of one file, tests left out.
fn literals(tree: &Tree, start: &str) -> BTreeSet<String> {
    let files = tree.files.iter().filter(|file| {
        let inside = file.path.strip_prefix(start);
        let inside = inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        inside && file.is_rust() && !file.is_test()
    });
    files
        .flat_map(|file| parts(file.without_tests()).literals)
        .map(|literal| literal.text)
        .collect()
}

/// What only one of two sides knows.
fn difference(
    path: &str,
    verb: &str,
    said: &BTreeSet<String>,
    found: &BTreeSet<String>,
    side: &str,
) -> Vec<Finding> {
    let alone = said.difference(found).map(|name| {
        Finding::file(path, format!("its card {verb} {name}, for which there is no {side}"))
    });
    let unsaid = found.difference(said).map(|name| {
        Finding::file(path, format!("a {side} has {name}, which its card does not say it {verb}"))
    });
    alone.chain(unsaid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::sample::{package, tree};

    const CARD: &str = "//! Catalog: products.\n//!\n//! Owns: products. Publishes:\n\
        //! `catalog.products`. Consumes: nothing. Serves: `GET` and\n\
        //! `PUT /api/v1/products/{sku}`. Promise: none.\n";
    const CONTRACT: &str = "owner: catalog\ntopic: catalog.products\nlane: normal\n";
    const HTTP: &str = "fn r() { route(\"/api/v1/products/{sku}\"); }\n";

    fn catalog(files: &[(&str, &str)]) -> Tree {
        let mut tree = tree(files);
        tree.packages = vec![package("services/catalog", &[])];
        tree
    }

    fn whole(card: &str) -> Tree {
        catalog(&[
            ("services/catalog/src/lib.rs", card),
            ("services/catalog/src/http.rs", HTTP),
            ("services/catalog/contracts/product.yaml", CONTRACT),
        ])
    }

    #[test]
    fn a_whole_service_passes() {
        for rule in [
            cards,
            publishes_agree_with_contracts,
            consumes_agree_with_subscriptions,
            serves_agree_with_routes,
            domain_imports,
        ] {
            assert_eq!(rule(&whole(CARD)), []);
        }
    }

    #[test]
    fn a_card_without_a_line_is_found() {
        assert_eq!(cards(&whole("//! Catalog.\n")).len(), 4);
        assert_eq!(cards(&whole(&CARD.replace("Consumes", "Hears"))).len(), 1);
    }

    #[test]
    fn a_topic_without_a_contract_and_a_contract_without_a_topic_are_found() {
        let other = whole(&CARD.replace("catalog.products", "catalog.things"));
        assert_eq!(publishes_agree_with_contracts(&other).len(), 2);
        let mut foreign = whole(CARD);
        foreign.files[2].text = CONTRACT.replace("owner: catalog", "owner: pricing");
        assert_eq!(publishes_agree_with_contracts(&foreign).len(), 2);
        foreign.files[2].text = "not a contract".to_owned();
        assert_eq!(publishes_agree_with_contracts(&foreign).len(), 2);
    }

    #[test]
    fn a_topic_that_no_subscription_delivers_and_one_nobody_asked_for_are_found() {
        let hears = CARD.replace("Consumes: nothing", "Consumes: `pricing.prices`");
        assert_eq!(consumes_agree_with_subscriptions(&whole(&hears)).len(), 1);
        let subscription = "spec:\n  pubsubname: pubsub-bulk\n  topic: a.b.bulk\n  routes:\n    \
             default: /events/a.b.bulk\nscopes:\n  - catalog\n";
        let deaf = catalog(&[
            ("services/catalog/src/lib.rs", CARD),
            ("components/subscriptions/catalog.yaml", subscription),
        ]);
        assert_eq!(consumes_agree_with_subscriptions(&deaf).len(), 1);
    }

    #[test]
    fn a_route_that_only_card_or_code_knows_is_found() {
        let other = CARD.replace("/products/", "/things/");
        assert_eq!(serves_agree_with_routes(&whole(&other)).len(), 2);
    }

    #[test]
    fn business_rules_that_name_the_database_are_found() {
        let of = |code| domain_imports(&catalog(&[("services/catalog/src/domain.rs", code)]));
        assert_eq!(of("use std::fmt;\nuse contracts::Key;\nuse super::Sku;\n").len(), 0);
        assert_eq!(of("use tokio_postgres::Row;\nuse crate::store::Store;\n").len(), 2);
    }
}
