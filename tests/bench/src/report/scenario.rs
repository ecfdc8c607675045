//! One scenario of a run: its ratios, its latencies, its costs, each lane beside the others.

use std::collections::{BTreeMap, BTreeSet};

use super::number::{NONE, count, number, ranged, ratio};
use super::page::{Block, Section, Table};
use super::spread::{Group, Spread, applied, cpu_sum, measured, of_limit};
use crate::figures::{Figures, Lane, Latency, Limit, Round};

/// The steps of a change's life, in their order.
const STEPS: [&str; 9] =
    ["detect", "publish", "route", "lock", "gate", "apply", "commit", "invalidate", "confirm"];

/// From here on a latency is easier read in seconds.
const SECONDS_FROM_MS: f64 = 10_000.0;

/// What one scenario says; none if nobody ran it.
pub(crate) fn section(rounds: &[Round], scenario: &str) -> Option<Section> {
    let lanes = Lane::ALL.map(|lane| Group::of(rounds, scenario, lane)).into_iter();
    let (lanes, without): (Vec<_>, Vec<_>) = lanes.partition(|group| !group.is_empty());
    let mut lines: Vec<_> = lanes.iter().chain(&without).flat_map(rounds_of).collect();
    let tables = [rates(&lanes), latencies(&lanes), costs(&lanes)];
    let tables = tables.into_iter().filter(|table| !table.is_empty()).map(Block::Table);
    if lanes.is_empty() && !lines.is_empty() {
        lines.push("no clean round, so no number".to_owned());
    }
    let has_rounds = !lines.is_empty();
    let blocks = std::iter::once(Block::Lines(lines)).chain(tables).collect();
    has_rounds.then(|| Section { title: scenario.to_owned(), blocks })
}

/// How many rounds count, and why the others do not.
fn rounds_of(group: &Group<'_>) -> Option<String> {
    let (clean, discarded) = (group.clean.len(), group.discarded.len());
    if clean + discarded == 0 {
        return None;
    }
    let mut line = format!("{}: {clean} clean of {} rounds", group.lane.name(), clean + discarded);
    for round in &group.discarded {
        let reason = round.discarded.as_deref().unwrap_or_default();
        line.push_str(&format!("; {} discarded: {reason}", round.number));
    }
    Some(line)
}

/// A table with a column for each lane.
struct ByLane<'a> {
    lanes: &'a [Group<'a>],
    table: Table,
}

impl<'a> ByLane<'a> {
    fn new(lanes: &'a [Group<'a>]) -> Self {
        let names = lanes.iter().map(|group| group.lane.name());
        Self { lanes, table: Table::new(1, std::iter::once("").chain(names)) }
    }

    /// Adds a row, unless no lane has this figure.
    fn row(&mut self, name: &str, cell: impl Fn(&Group<'_>) -> Option<String>) {
        let cells: Vec<_> = self.lanes.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| NONE.to_owned()));
            self.table.row(std::iter::once(name.to_owned()).chain(cells));
        }
    }

    /// Adds a row of one figure with its range.
    fn figure(&mut self, name: &str, figure: impl Fn(&Round) -> Option<f64>) {
        self.row(name, |group| written(group.spread(&figure), number));
    }

    /// Adds a row for each name that a lane has.
    fn named(&mut self, prefix: &str, map: fn(&Figures) -> &BTreeMap<String, f64>) {
        let rounds = self.lanes.iter().flat_map(|group| &group.clean);
        let names: BTreeSet<_> = rounds.flat_map(|round| map(&round.figures).keys()).collect();
        for name in names {
            let label = format!("{prefix}{}", words(name));
            self.figure(&label, |round| map(&round.figures).get(name).copied());
        }
    }
}

fn written(spread: Option<Spread>, write: fn(f64) -> String) -> Option<String> {
    spread.is_some().then(|| ranged(spread, write))
}

/// A name as a reader says it.
fn words(name: &str) -> String {
    name.replace('_', " ")
        .replace("wal ", "WAL ")
        .replace("redis ", "Redis ")
        .replace("dapr ", "Dapr ")
}

fn rates(lanes: &[Group<'_>]) -> Table {
    let lane = |wanted: Lane| lanes.iter().find(|group| group.lane == wanted);
    let beside = |group: &Group<'_>, above: Lane, beneath: Lane| {
        let spread = (group.lane == above).then(|| group.rate_of(lane(beneath)?)).flatten();
        written(spread, ratio)
    };
    let mut rows = ByLane::new(lanes);
    rows.row("applied/s of the limit", |group| written(group.spread(of_limit), ratio));
    rows.row("Dapr / direct", |group| beside(group, Lane::Dapr, Lane::Direct));
    rows.row("plain / Dapr", |group| beside(group, Lane::PlainDapr, Lane::Dapr));
    rows.figure("applied/s", applied);
    rows.figure("offered/s", |round| {
        (round.figures.offered > 0.0).then_some(round.figures.offered)
    });
    rows.figure("changes", |round| Some(round.figures.changes as f64));
    let limit = |pick: fn(Limit) -> f64| move |round: &Round| round.limit.map(pick);
    rows.figure("limit: commits/s", limit(|limit| limit.commits));
    rows.figure("limit: added to a stream/s", limit(|limit| limit.added));
    rows.figure("limit: read from a stream/s", limit(|limit| limit.read));
    rows.figure("limit: upserted/s", limit(|limit| limit.upserted));
    rows.named("", |figures| &figures.others);
    rows.table
}

fn latencies(lanes: &[Group<'_>]) -> Table {
    let mut table = Table::new(2, ["ms unless said", "lane", "P50", "P95", "P99", "P99.9"]);
    let mut add = |name: &str, latency: &dyn Fn(&Figures) -> Option<Latency>| {
        rows_of(&mut table, lanes, name, latency);
    };
    add("scheduled to applied", &|figures| measured(figures.scheduled_to_applied));
    add("commit to applied", &|figures| measured(figures.commit_to_applied));
    add("commit to clean", &|figures| measured(figures.commit_to_clean));
    add("commit to found", &|figures| measured(figures.commit_to_found));
    for step in steps(lanes) {
        let latency = |figures: &Figures| figures.steps.get(step).copied().and_then(measured);
        add(&format!("step {step}"), &latency);
    }
    table
}

/// The steps that a lane has: the known ones in their order, then others by name.
fn steps<'a>(lanes: &'a [Group<'a>]) -> Vec<&'a str> {
    let rounds = lanes.iter().flat_map(|group| &group.clean);
    let names: BTreeSet<&str> =
        rounds.flat_map(|round| round.figures.steps.keys().map(String::as_str)).collect();
    let known = STEPS.into_iter().filter(|step| names.contains(step));
    let others = names.iter().copied().filter(|name| !STEPS.contains(name));
    known.chain(others).collect()
}

/// Adds one latency, a row for each lane that has it.
fn rows_of(
    table: &mut Table,
    lanes: &[Group<'_>],
    name: &str,
    latency: &dyn Fn(&Figures) -> Option<Latency>,
) {
    let spread = |group: &Group<'_>, pick: fn(Latency) -> f64| {
        group.spread(|round| latency(&round.figures).map(pick))
    };
    let longest = lanes.iter().filter_map(|group| spread(group, |latency| latency.p999));
    let is_long = longest.map(|spread| spread.high).fold(0.0, f64::max) >= SECONDS_FROM_MS;
    let mut label = if is_long { format!("{name}, s") } else { name.to_owned() };
    let write = if is_long { |ms: f64| number(ms / 1_000.0) } else { number };
    for group in lanes {
        let picks: [fn(Latency) -> f64; 4] = [|l| l.p50, |l| l.p95, |l| l.p99, |l| l.p999];
        let cells = picks.map(|pick| ranged(spread(group, pick), write));
        if cells.iter().any(|cell| cell != NONE) {
            let names = [std::mem::take(&mut label), group.lane.name().to_owned()];
            table.row(names.into_iter().chain(cells));
        }
    }
}

fn costs(lanes: &[Group<'_>]) -> Table {
    let mut rows = ByLane::new(lanes);
    rows.named("CPU us per change: ", |figures| &figures.cpu_us);
    rows.figure("CPU us per change: sum", cpu_sum);
    rows.named("per change: ", |figures| &figures.per_change);
    let mut counted = |name: &str, pick: fn(&Figures) -> u64| {
        rows.row(name, |group| Some(count(group.sum(|round| pick(&round.figures)))));
    };
    counted("duplicates, all rounds", |figures| figures.duplicates);
    counted("lost, all rounds", |figures| figures.lost);
    counted("out of order, all rounds", |figures| figures.out_of_order);
    rows.named("memory MiB: ", |figures| &figures.memory_mib);
    rows.table
}

#[cfg(test)]
mod tests {
    use super::super::page::Page;
    use super::super::sample::{self, discarded, round};
    use super::*;

    fn text(rounds: &[Round], scenario: &str) -> String {
        Page { sections: section(rounds, scenario).into_iter().collect(), ..Page::default() }.text()
    }

    /// The words of the first line that begins so.
    fn words_of(text: &str, beginning: &str) -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(beginning)).unwrap_or_default();
        let rest = line.strip_prefix(beginning).unwrap_or_default();
        rest.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn each_lane_has_its_column_with_ratios_first() {
        let text = text(&sample::run().rounds, "flood");
        let at = |name: &str| text.find(name).unwrap();
        assert!(at("applied/s of the limit") < at("Dapr / direct"));
        assert!(at("plain / Dapr") < at("\napplied/s  "));
        assert!(at("\napplied/s  ") < at("scheduled to applied"));
        assert_eq!(words_of(&text, "Dapr / direct"), ["-", "0.50", "-"]);
        assert_eq!(words_of(&text, "plain / Dapr"), ["-", "-", "0.25"]);
        assert_eq!(words_of(&text, "applied/s  ")[..2], ["7,843", "(7,767..7,921)"]);
        assert!(!text.contains("offered/s"), "a flood offers no rate");
    }

    #[test]
    fn steps_stand_in_the_order_of_a_changes_life() {
        let text = text(&sample::run().rounds, "steady-1000");
        let places = ["step detect", "step publish", "step commit", "step zebra"]
            .map(|step| text.find(step).unwrap());
        assert!(places.is_sorted());
        assert!(!text.contains("step lock"), "nobody measured it");
        assert_eq!(words_of(&text, "step detect"), ["direct", "1", "2", "4", "8"]);
    }

    #[test]
    fn costs_are_summed_and_named() {
        let text = text(&sample::run().rounds, "steady-1000");
        assert_eq!(words_of(&text, "CPU us per change: sum"), ["132", "132", "132"]);
        assert_eq!(words_of(&text, "per change: WAL bytes"), ["1,720", "1,720", "1,720"]);
        assert_eq!(words_of(&text, "lost, all rounds"), ["0", "0", "0"]);
        assert_eq!(words_of(&text, "memory MiB: relay"), ["22", "22", "22"]);
        assert_eq!(words_of(&text, "offered/s"), ["1,000", "1,000", "1,000"]);
    }

    #[test]
    fn a_long_latency_is_in_seconds() {
        let mut slow = round("outage", Lane::Direct, 1);
        slow.figures.commit_to_applied = sample::latency(5_000.0);
        let text = text(&[slow], "outage");
        assert_eq!(words_of(&text, "commit to applied, s"), ["direct", "5", "10", "20", "40"]);
        assert!(text.contains("scheduled to applied  direct"));
    }

    #[test]
    fn a_discarded_round_says_why_and_no_number() {
        let text = text(&[discarded(round("flood", Lane::Direct, 1))], "flood");
        assert!(
            text.contains("direct: 0 clean of 1 rounds; 1 discarded: no thread ran for a while")
        );
        assert!(text.contains("no clean round, so no number"));
        assert!(!text.contains("applied/s"));
    }
}
