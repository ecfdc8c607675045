//! What services show at `/metrics`, held against what is documented of it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use harness::Mesh;

const DOCUMENT: &str = include_str!("../../../ARCHITECTURE.md");
/// The table's head.
const HEAD: &str = "| metric | labels | meaning |";
/// What a mesh shows in which changes flow and nothing goes wrong.
const ALWAYS: [&str; 7] = [
    "sync_duration_seconds",
    "sync_attempts_total",
    "sync_freshness_seconds",
    "sync_queue_size",
    "integration_operation_duration",
    "service_kit_request_duration_seconds",
    "cache_invalidations_total",
];

type Labels = BTreeMap<String, BTreeSet<String>>;

/// Every series of every service is in the table, with exactly these labels; what must be there is.
pub(crate) async fn names_and_labels_are_as_documented(
    mesh: &Mesh,
    services: &[&str],
) -> anyhow::Result<()> {
    let documented = documented()?;
    let mut seen = BTreeSet::new();
    for service in services {
        let url = format!("{}/metrics", mesh.service(service)?);
        let text = mesh.http().get(url).send().await?.error_for_status()?.text().await?;
        for (name, labels) in shown(&text) {
            let expected = documented.get(&name);
            let expected = expected.with_context(|| format!("{service} shows {name} as well"))?;
            ensure!(labels == *expected, "{service}, {name}: {labels:?}, not {expected:?}");
            seen.insert(name);
        }
    }
    let missing: Vec<_> = ALWAYS.iter().filter(|name| !seen.contains(**name)).collect();
    ensure!(missing.is_empty(), "nobody shows {missing:?}, only {seen:?}");
    println!("{} of {} documented metrics are shown", seen.len(), documented.len());
    Ok(())
}

fn documented() -> anyhow::Result<Labels> {
    let (_, table) = DOCUMENT.split_once(HEAD).context("the table of metrics is gone")?;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows = rows.map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let name = cells.next().context("no name")?.trim_matches('`').to_owned();
        let labels = cells.next().context("no labels")?.split(", ").map(|l| l.trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned).collect();
        Ok((name, labels))
    });
    rows.collect()
}

/// Names with all labels that one of their series has; those of a histogram are one.
fn shown(text: &str) -> Labels {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let histograms: BTreeSet<_> =
        types.filter_map(|line| line.strip_suffix(" histogram")).collect();
    let mut all = Labels::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts.iter().filter_map(|part| name.strip_suffix(part));
        let name = whole.into_iter().find(|whole| histograms.contains(whole)).unwrap_or(name);
        let labels = labels.split("\",").filter_map(|label| label.split_once("=\""));
        let labels = labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le");
        all.entry(name.to_owned()).or_default().extend(labels);
    }
    all
}
