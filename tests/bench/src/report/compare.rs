//! Two runs side by side: what became faster or slower, and whether they agree.

use anyhow::{Result, bail, ensure};

use super::number::{NONE, number, percent};
use super::page::{Block, Page, Section, Table};
use super::spread::{Group, Spread, applied, measured, other, scenarios};
use crate::figures::{Lane, Latency, Limit, Machine, Round, Run, State};

/// Throughput and P50 of two runs that agree differ by no more.
const AGREE: f64 = 0.15;

/// P99 of two runs that agree differ by no more.
const AGREE_P99: f64 = 0.30;

/// What a sum of rounding errors may add to them.
const ROUNDING: f64 = 1e-9;

/// Two runs side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What both measured.
    pub pairs: Vec<Pair>,
    /// By what the machine itself differs beyond what runs may differ by that agree.
    pub drift: Vec<Drift>,
    /// What else differs, and what only one of them measured.
    pub notes: Vec<String>,
}

/// A figure of the machine alone that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// Which, and what it was before and is now.
    pub text: String,
    /// Whether the machine became slower by it.
    pub is_slower: bool,
}

/// One scenario in one lane of two runs; each figure is the change as share of the old one.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The scenario.
    pub scenario: String,
    /// The lane.
    pub lane: Lane,
    /// Of the changes applied per second.
    pub throughput: Option<f64>,
    /// Of half the times from commit to applied.
    pub p50: Option<f64>,
    /// Of 99 in 100 times from commit to applied.
    pub p99: Option<f64>,
}

impl Pair {
    /// Whether both runs say the same: throughput and P50 within 15 %, P99 within 30 %.
    pub fn agrees(&self) -> bool {
        let within = |change: Option<f64>, most: f64| {
            change.is_none_or(|change| change.abs() <= most + ROUNDING)
        };
        within(self.throughput, AGREE) && within(self.p50, AGREE) && within(self.p99, AGREE_P99)
    }

    /// Whether it became slower in anything by so much that the runs do not agree.
    fn is_slower(&self) -> bool {
        let beyond = |change: Option<f64>, most: f64| change.is_some_and(|it| it > most + ROUNDING);
        beyond(self.throughput.map(|change| -change), AGREE)
            || beyond(self.p50, AGREE)
            || beyond(self.p99, AGREE_P99)
    }
}

impl Comparison {
    /// Whether the runs agree in all that both measured.
    pub fn agrees(&self) -> bool {
        self.pairs.iter().all(Pair::agrees)
    }

    /// Whether the runs differ, and wherever they do the machine does the same way, so that it may
    /// be the reason.
    pub fn is_invalid(&self) -> bool {
        let is_excused =
            |pair: &Pair| self.drift.iter().any(|drift| drift.is_slower == pair.is_slower());
        !self.agrees() && self.pairs.iter().all(|pair| pair.agrees() || is_excused(pair))
    }

    fn verdict(&self) -> String {
        let within = "throughput and P50 within 15 %, P99 within 30 %";
        if self.agrees() {
            return format!("The two runs agree: {within}.");
        }
        if self.is_invalid() {
            return "INVALID: the two runs differ, and so does the machine itself.".to_owned();
        }
        format!("The two runs do not agree: {within}.")
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        self.page().text()
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        self.page().markdown()
    }

    fn page(&self) -> Page {
        let headings = ["scenario", "lane", "agree", "applied/s", "commit to applied P50", "P99"];
        let mut table = Table::new(3, headings);
        let change = |change: Option<f64>| change.map_or_else(|| NONE.to_owned(), percent);
        for pair in &self.pairs {
            table.row([
                pair.scenario.clone(),
                pair.lane.name().to_owned(),
                if pair.agrees() { "yes" } else { "no" }.to_owned(),
                change(pair.throughput),
                change(pair.p50),
                change(pair.p99),
            ]);
        }
        let mut lines = vec![self.verdict()];
        lines.extend(self.drift.iter().map(|drift| format!("the machine alone: {}", drift.text)));
        lines.extend(self.notes.iter().cloned());
        let section = Section { title: "Changes".to_owned(), blocks: vec![Block::Table(table)] };
        Page { title: "New against old".to_owned(), lines, sections: vec![section] }
    }
}

/// Compares a run with an earlier one of the same machine; refuses what cannot be compared and
/// says what differs.
pub fn compare(old: &Run, new: &Run) -> Result<Comparison> {
    for (name, run) in [("old", old), ("new", new)] {
        if run.state == State::Invalid {
            bail!("the {name} run is of a host that stalled: it says no number to compare");
        }
    }
    let differences = differences(old, new);
    ensure!(
        differences.is_empty(),
        "these runs cannot be compared, they differ in more than Syncline: {}",
        differences.join("; ")
    );
    let (mut pairs, mut notes) = (Vec::new(), notes(old, new));
    for scenario in all_scenarios(old, new) {
        for lane in Lane::ALL {
            let [before, after] = [old, new].map(|run| Group::of(&run.rounds, scenario, lane));
            match (before.is_empty(), after.is_empty()) {
                (false, false) => pairs.push(pair(&before, &after)),
                (true, false) => notes.push(alone(&after, "new")),
                (false, true) => notes.push(alone(&before, "old")),
                (true, true) => {}
            }
        }
    }
    ensure!(!pairs.is_empty(), "these runs have no scenario and lane in common");
    Ok(Comparison { pairs, drift: drift(old, new), notes })
}

fn all_scenarios<'a>(old: &'a Run, new: &'a Run) -> Vec<&'a str> {
    let mut names = scenarios(&new.rounds);
    for name in scenarios(&old.rounds) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn alone(group: &Group<'_>, run: &str) -> String {
    format!("only the {run} run measured {} {}", group.scenario, group.lane.name())
}

fn pair(old: &Group<'_>, new: &Group<'_>) -> Pair {
    let change = |figure: &dyn Fn(&Round) -> Option<f64>| {
        let (before, after) = (old.median(figure)?, new.median(figure)?);
        (before > 0.0).then(|| after / before - 1.0)
    };
    Pair {
        scenario: new.scenario.to_owned(),
        lane: new.lane,
        throughput: change(&applied),
        p50: change(&|round| latency(round).map(|it| it.p50)),
        p99: change(&|round| latency(round).map(|it| it.p99)),
    }
}

/// From commit to applied, where the rate was kept: a backlog is as long as its load lasted.
fn latency(round: &Round) -> Option<Latency> {
    let is_kept = round.figures.offered > 0.0 && other("sustained")(round) != Some(0.0);
    measured(round.figures.commit_to_applied).filter(|_| is_kept)
}

/// What makes figures of two runs incomparable.
fn differences(old: &Run, new: &Run) -> Vec<String> {
    let machine = |pick: fn(&Machine) -> String| (pick(&old.machine), pick(&new.machine));
    let gib = |machine: &Machine| machine.memory_mib.div_ceil(1_024).to_string();
    [
        ("format", (old.format.to_string(), new.format.to_string())),
        ("processors", machine(|machine| machine.cpus.to_string())),
        ("processor", machine(|machine| machine.cpu.clone())),
        ("GiB of memory", machine(gib)),
    ]
    .into_iter()
    .filter(|(_, (before, after))| before != after)
    .map(|(what, (before, after))| format!("{what}: {before} before, {after} now"))
    .collect()
}

/// What the machine alone could do in one run and not in the other.
fn drift(old: &Run, new: &Run) -> Vec<Drift> {
    let rate = |name, pick: fn(Limit) -> f64| moved(name, old, new, |limit| Some(pick(limit)));
    let rates = [
        rate("commits/s", |limit| limit.commits),
        rate("added to a stream/s", |limit| limit.added),
        rate("read from a stream/s", |limit| limit.read),
        rate("upserted/s", |limit| limit.upserted),
    ];
    let memory = moved("ns of a read of memory", old, new, |limit| limit.memory_read_ns);
    let rates = rates.into_iter().flatten();
    let rates = rates.map(|(text, change)| Drift { text, is_slower: change < 0.0 });
    rates.chain(memory.map(|(text, change)| Drift { text, is_slower: change > 0.0 })).collect()
}

/// A figure of the machine and its change, if the medians over the clean rounds that both runs have
/// differ by more than those of runs that agree.
fn moved(
    name: &str,
    old: &Run,
    new: &Run,
    figure: impl Fn(Limit) -> Option<f64>,
) -> Option<(String, f64)> {
    let median = |run: &Run, other: &Run| {
        let clean = run.rounds.iter().filter(|round| round.discarded.is_none());
        let common = clean.filter(|round| {
            let group = Group::of(&other.rounds, &round.scenario, round.lane);
            !group.is_empty()
        });
        Spread::of(common.filter_map(|round| figure(round.limit?))).map(|spread| spread.median)
    };
    let (before, after) = (median(old, new)?, median(new, old)?);
    let change = after / before - 1.0;
    let is_moved = before > 0.0 && change.abs() > AGREE + ROUNDING;
    is_moved.then(|| (format!("{name} {} before, {} now", number(before), number(after)), change))
}

/// What differs and may be the very reason to compare.
fn notes(old: &Run, new: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |what: &str, before: &str, after: &str| {
        if before != after {
            notes.push(format!("{what}: {before} before, {after} now"));
        }
    };
    note("mode", &old.mode, &new.mode);
    note("kernel", &old.machine.kernel, &new.machine.kernel);
    let mut names: Vec<_> = old.versions.keys().chain(new.versions.keys()).collect();
    names.sort();
    names.dedup();
    let version =
        |run: &Run, name: &String| run.versions.get(name).map_or(NONE, String::as_str).to_owned();
    for name in names {
        note(name, &version(old, name), &version(new, name));
    }
    for (name, run) in [("old", old), ("new", new)] {
        if run.state == State::Partial {
            notes.push(format!("the {name} run is PARTIAL: {}", super::summary::why(run)));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    /// The sample with the rate and both latencies of a scenario direct multiplied.
    fn changed(scenario: &str, rate: f64, p50: f64, p99: f64) -> Run {
        let mut run = sample::run();
        for round in &mut run.rounds {
            if round.scenario == scenario && round.lane == Lane::Direct {
                round.figures.applied *= rate;
                round.figures.commit_to_applied.p50 *= p50;
                round.figures.commit_to_applied.p99 *= p99;
            }
        }
        run
    }

    #[test]
    fn runs_agree_within_15_percent_and_p99_within_30() {
        let agrees = |rate, p50, p99| {
            let new = changed("steady-1000", rate, p50, p99);
            compare(&sample::run(), &new).unwrap().agrees()
        };
        assert!(agrees(1.0, 1.0, 1.0));
        assert!(agrees(0.85, 1.15, 1.30));
        assert!(!agrees(0.84, 1.0, 1.0));
        assert!(!agrees(1.0, 1.16, 1.0));
        assert!(!agrees(1.0, 1.0, 0.69));
    }

    /// That run against the sample, on a machine whose limits are those of the sample times these.
    fn on_a_machine(mut run: Run, commits: f64, memory: f64) -> Comparison {
        for limit in run.rounds.iter_mut().filter_map(|round| round.limit.as_mut()) {
            limit.commits *= commits;
            limit.memory_read_ns = limit.memory_read_ns.map(|ns| ns * memory);
        }
        compare(&sample::run(), &run).unwrap()
    }

    #[test]
    fn runs_that_differ_as_the_machine_does_are_invalid() {
        let (slower, faster) =
            (|| changed("flood", 0.7, 1.0, 1.0), || changed("flood", 1.4, 1.0, 1.0));
        assert!(on_a_machine(slower(), 0.8, 1.0).is_invalid());
        assert!(on_a_machine(slower(), 1.0, 2.0).is_invalid());
        assert!(on_a_machine(faster(), 1.2, 1.0).is_invalid());
        let text = on_a_machine(slower(), 1.0, 2.0).text();
        assert!(text.contains("INVALID: the two runs differ, and so does the machine"), "{text}");
        assert!(text.contains("ns of a read of memory 40.8 before, 81.6 now"), "{text}");
    }

    #[test]
    fn a_machine_that_changed_otherwise_or_little_excuses_nothing() {
        let slower = || changed("flood", 0.7, 1.0, 1.0);
        for (commits, memory) in [(1.0, 1.0), (0.9, 1.1), (1.3, 1.0), (1.0, 0.5)] {
            assert!(!on_a_machine(slower(), commits, memory).is_invalid(), "{commits} {memory}");
        }
        let agreeing = on_a_machine(sample::run(), 0.5, 1.0);
        assert!(agreeing.agrees() && !agreeing.is_invalid());
        assert!(agreeing.text().contains("the machine alone: commits/s"));
    }

    #[test]
    fn how_long_a_backlog_was_is_not_compared() {
        let agrees = |rate| {
            let new = changed("flood", rate, 3.0, 3.0);
            compare(&sample::run(), &new).unwrap().agrees()
        };
        assert!(agrees(1.0));
        assert!(!agrees(0.8));
    }

    #[test]
    fn the_change_of_each_pair_is_said_in_percent() {
        let comparison = compare(&sample::run(), &changed("steady-1000", 1.2, 0.5, 1.0)).unwrap();
        assert_eq!(comparison.pairs.len(), 14);
        let text = comparison.text();
        let row =
            text.lines().find(|line| line.starts_with("steady-1000 ") && line.contains("direct"));
        let words: Vec<_> = row.unwrap().split_whitespace().collect();
        assert_eq!(words, ["steady-1000", "direct", "no", "+20.0", "%", "-50.0", "%", "+0.0", "%"]);
        assert!(text.contains("The two runs do not agree"));
        assert!(comparison.markdown().contains("| steady-1000 | direct | no | +20.0 % |"));
    }

    #[test]
    fn runs_of_different_machines_or_formats_are_refused_with_what_differs() {
        let mut other = sample::run();
        other.machine.cpus = 8;
        other.format = 2;
        let error = compare(&sample::run(), &other).unwrap_err().to_string();
        assert!(error.contains("processors: 2 before, 8 now"), "{error}");
        assert!(error.contains("format: 1 before, 2 now"), "{error}");
    }

    #[test]
    fn a_stalled_run_is_not_compared() {
        let error = compare(&sample::invalid(), &sample::run()).unwrap_err().to_string();
        assert!(error.contains("the old run"), "{error}");
    }

    #[test]
    fn what_only_one_run_measured_and_another_commit_are_noted() {
        let mut new = sample::run();
        new.rounds.retain(|round| round.scenario != "import");
        new.versions.insert("commit".to_owned(), "89abcde".to_owned());
        let comparison = compare(&sample::run(), &new).unwrap();
        let notes = comparison.notes.join("\n");
        assert!(notes.contains("commit: 0123abc before, 89abcde now"), "{notes}");
        assert!(notes.contains("only the old run measured import direct"), "{notes}");
        new.rounds.clear();
        assert!(compare(&sample::run(), &new).is_err());
    }
}
