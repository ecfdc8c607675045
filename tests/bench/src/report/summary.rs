//! The whole of a run on one page: where it ran, what came of it, and each scenario.

use super::number::{NONE, count, median, number, ratio};
use super::page::{Block, Page, Section, Table};
use super::scenario;
use super::spread::{Group, Spread, applied, cpu_sum, measured, of_limit, scenarios};
use crate::figures::{Lane, Round, Run, State, Target};

/// The page of a run that says something.
pub(crate) fn page(run: &Run) -> Page {
    let mut sections = vec![overview(run)];
    sections.extend(targets(run));
    let parts = scenarios(&run.rounds).into_iter();
    sections.extend(parts.filter_map(|name| scenario::section(&run.rounds, name)));
    Page { title: title(run), lines: where_it_ran(run), sections }
}

fn title(run: &Run) -> String {
    let began = run.began_at.format("%Y-%m-%d %H:%M UTC");
    let title = format!("Syncline, measured {began}, {}", run.mode);
    match run.state {
        State::Partial => format!("PARTIAL ({}): {title}", why(run)),
        State::Complete | State::Invalid => title,
    }
}

/// Why a run does not say all.
pub(super) fn why(run: &Run) -> String {
    if let Some(reason) = &run.reason {
        return reason.clone();
    }
    let mut without = Vec::new();
    for name in scenarios(&run.rounds) {
        for group in Lane::ALL.map(|lane| Group::of(&run.rounds, name, lane)) {
            if group.is_empty() && !group.discarded.is_empty() {
                without.push(format!("{name} {}", group.lane.name()));
            }
        }
    }
    if without.is_empty() {
        "it was broken off".to_owned()
    } else {
        format!("no clean round of {}", without.join(", "))
    }
}

fn where_it_ran(run: &Run) -> Vec<String> {
    let clean = run.rounds.iter().filter(|round| round.discarded.is_none()).count();
    let versions: Vec<_> =
        run.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let rounds = format!(
        "{clean} clean of {} rounds in {} s; the load generator ran on the same machine",
        run.rounds.len(),
        number(run.took_s.round())
    );
    [machine(run), versions.join(", "), rounds].into_iter().chain(memory(run)).collect()
}

/// How far away memory was before the rounds that count.
pub(super) fn memory(run: &Run) -> Option<String> {
    let clean = run.rounds.iter().filter(|round| round.discarded.is_none());
    let ns = Spread::of(clean.filter_map(|round| round.limit?.memory_read_ns))?;
    let (median, low, high) = (number(ns.median), number(ns.low), number(ns.high));
    Some(format!(
        "a read within 16 MiB took {median} ns before the lanes ({low} to {high}): more while \
         others use the host's caches"
    ))
}

/// The machine in one line.
pub(super) fn machine(run: &Run) -> String {
    let machine = &run.machine;
    format!(
        "{} processors ({}), {} GiB, Linux {}, fdatasync {} ms",
        machine.cpus,
        machine.cpu,
        machine.memory_mib.div_ceil(1_024),
        machine.kernel,
        number(machine.fdatasync_ms)
    )
}

const HEADINGS: [&str; 12] = [
    "scenario",
    "lane",
    "of limit",
    "ratio",
    "applied/s",
    "s P99",
    "c P50",
    "c P95",
    "c P99",
    "c P99.9",
    "CPU us",
    "lost",
];

fn overview(run: &Run) -> Section {
    let mut table = Table::new(2, HEADINGS);
    for name in scenarios(&run.rounds) {
        let mut before: Option<Group<'_>> = None;
        for group in Lane::ALL.map(|lane| Group::of(&run.rounds, name, lane)) {
            if !group.is_empty() {
                table.row(overview_row(&group, before.as_ref()));
                before = Some(group);
            }
        }
    }
    let legend = "Medians over clean rounds, their ranges below. of limit: applied/s as share of \
                  what this machine could do in the same round; ratio: of the rates of two lanes; \
                  s: scheduled to applied, c: commit to applied, in ms; CPU us: processor per \
                  change, all processes; lost: all rounds.";
    let blocks = vec![Block::Lines(vec![legend.to_owned()]), Block::Table(table)];
    Section { title: "All".to_owned(), blocks }
}

fn overview_row(group: &Group<'_>, before: Option<&Group<'_>>) -> [String; 12] {
    let beside = before.and_then(|other| Some((group.rate_of(other)?, other.lane)));
    let beside = beside.map_or_else(
        || NONE.to_owned(),
        |(share, lane)| format!("{} of {}", ratio(share.median), lane.name()),
    );
    let commit = |pick: fn(crate::figures::Latency) -> f64| {
        let figure = |round: &Round| measured(round.figures.commit_to_applied).map(pick);
        median(group.spread(figure), number)
    };
    let planned = |round: &Round| measured(round.figures.scheduled_to_applied).map(|l| l.p99);
    [
        group.scenario.to_owned(),
        group.lane.name().to_owned(),
        median(group.spread(of_limit), ratio),
        beside,
        median(group.spread(applied), number),
        median(group.spread(planned), number),
        commit(|latency| latency.p50),
        commit(|latency| latency.p95),
        commit(|latency| latency.p99),
        commit(|latency| latency.p999),
        median(group.spread(cpu_sum), number),
        count(group.sum(|round| round.figures.lost)),
    ]
}

fn targets(run: &Run) -> Option<Section> {
    let lines: Vec<_> = run.targets.iter().map(target).collect();
    (!lines.is_empty())
        .then(|| Section { title: "Targets".to_owned(), blocks: vec![Block::Lines(lines)] })
}

fn target(target: &Target) -> String {
    let verdict = match (target.met, &target.measured) {
        (Some(true), _) => "met",
        (Some(false), _) => "NOT MET",
        (None, Some(_)) => "reported",
        (None, None) => "not measured",
    };
    let mut line = format!("[{verdict}] {}: {}", target.id, target.wanted);
    if let Some(measured) = &target.measured {
        line.push_str(&format!("; measured: {measured}"));
    }
    if let Some(floor) = &target.floor {
        line.push_str(&format!("; floor: {floor}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_overview_has_ratios_first() {
        let text = page(&sample::run()).text();
        let row = text.lines().find(|line| line.starts_with("flood") && line.contains("Dapr"));
        let words: Vec<_> = row.unwrap().split_whitespace().take(7).collect();
        assert_eq!(words, ["flood", "Dapr", "0.27", "0.50", "of", "direct", "3,922"]);
    }

    #[test]
    fn a_target_that_was_not_met_shows_its_floor() {
        let text = page(&sample::run()).text();
        assert!(text.contains(
            "[NOT MET] G2: P50 < 6 ms; measured: P50 7 ms; floor: the steps at rest take 4 ms"
        ));
    }

    #[test]
    fn a_partial_run_says_so_in_its_title_and_why() {
        let mut run = sample::run();
        run.state = State::Partial;
        assert!(page(&run).title.starts_with("PARTIAL (it was broken off): "));
        for round in run.rounds.iter_mut().filter(|round| round.scenario == "flood") {
            *round = sample::discarded(round.clone());
        }
        let title = page(&run).title;
        let why = "PARTIAL (no clean round of flood direct, flood Dapr, flood plain): ";
        assert!(title.starts_with(why), "{title}");
        run.reason = Some("interrupted".to_owned());
        assert!(page(&run).markdown().starts_with("# PARTIAL (interrupted): Syncline"));
    }

    #[test]
    fn the_machine_and_the_versions_are_named() {
        let text = page(&sample::run()).text();
        assert!(text.contains("2 processors (Example CPU), 16 GiB, Linux 6.1.0, fdatasync 0.100"));
        assert!(text.contains("commit 0123abc, postgres 15.18"));
        assert!(text.contains("42 clean of 42 rounds in 480 s"));
    }
}
