//! The one measured table of the README, written by the command that measured it.

use anyhow::{Context as _, Result, ensure};

use super::number::{NONE, count, median, number, ratio};
use super::page::Table;
use super::spread::{Group, applied, cpu_sum, measured, of_limit, other};
use super::summary::{machine, memory, why};
use crate::figures::{Figures, Lane, Latency, Round, Run, State};

/// A short table of a run with its machine, versions, commit and date; refuses a stalled run,
/// which says no number.
pub fn readme(run: &Run) -> Result<String> {
    ensure!(run.state != State::Invalid, "host stalled: this run has no table for the README");
    let headings = ["", "Syncline on Redis Streams", "Syncline through Dapr", "a plain Dapr app"];
    let mut table = Rows { run, table: Table::new(1, headings) };
    table.spread("applied per second, as many as go", "flood", applied, number);
    table.spread("the same, as share of what this machine can do", "flood", of_limit, ratio);
    let commit = |figures: &Figures| figures.commit_to_applied;
    let planned = |figures: &Figures| figures.scheduled_to_applied;
    let clean = |figures: &Figures| figures.commit_to_clean;
    table.latency("at 1,000/s: commit to applied, P50 / P95 / P99 in ms", commit);
    table.latency("at 1,000/s: due to applied, P50 / P95 / P99 in ms", planned);
    table.latency("at 1,000/s: commit to clean cache, P50 / P95 / P99 in ms", clean);
    table.spread("at 1,000/s: processor per change, all processes, in µs", STEADY, cpu_sum, number);
    let wal = |round: &Round| round.figures.per_change.get("wal_bytes").copied();
    table.spread("at 1,000/s: WAL bytes per change", STEADY, wal, number);
    let (written, lag) = (other("written_per_s"), other("lag_end_s"));
    table.spread("of 10,000/s: written per second", "steady-10000", written, number);
    table.spread("of 10,000/s: lag at the end in s", "steady-10000", lag, number);
    let import = other("import_applied_s");
    table.spread("100,000 records imported and applied, in s", "import", import, number);
    table.counts("changes lost / out of order, all rounds");
    Ok(format!("{}\n{}", caption(run), table.table.markdown()))
}

/// The scenario whose latencies the table shows.
const STEADY: &str = "steady-1000";

struct Rows<'a> {
    run: &'a Run,
    table: Table,
}

impl Rows<'_> {
    /// Adds a row, unless no lane has it.
    fn row(&mut self, name: &str, cell: impl Fn(Lane) -> String) {
        let cells = Lane::ALL.map(cell);
        if cells.iter().any(|cell| cell != NONE) {
            self.table.row(std::iter::once(name.to_owned()).chain(cells));
        }
    }

    fn spread(
        &mut self,
        name: &str,
        scenario: &str,
        figure: impl Fn(&Round) -> Option<f64>,
        write: fn(f64) -> String,
    ) {
        let rounds = &self.run.rounds;
        self.row(name, |lane| median(Group::of(rounds, scenario, lane).spread(&figure), write));
    }

    fn latency(&mut self, name: &str, latency: fn(&Figures) -> Latency) {
        let rounds = &self.run.rounds;
        self.row(name, |lane| {
            let group = Group::of(rounds, STEADY, lane);
            let picks: [fn(Latency) -> f64; 3] = [|l| l.p50, |l| l.p95, |l| l.p99];
            let cells = picks.map(|pick| {
                median(group.spread(|round| measured(latency(&round.figures)).map(pick)), number)
            });
            if cells.iter().all(|cell| cell == NONE) { NONE.to_owned() } else { cells.join(" / ") }
        });
    }

    /// What must be nothing, summed over all rounds of all scenarios.
    fn counts(&mut self, name: &str) {
        let rounds = &self.run.rounds;
        self.row(name, |lane| {
            let of_lane: Vec<_> = rounds.iter().filter(|round| round.lane == lane).collect();
            if of_lane.is_empty() {
                return NONE.to_owned();
            }
            let sum = |pick: fn(&Figures) -> u64| {
                count(of_lane.iter().map(|round| pick(&round.figures)).sum())
            };
            format!("{} / {}", sum(|figures| figures.lost), sum(|figures| figures.out_of_order))
        });
    }
}

fn caption(run: &Run) -> String {
    let versions: Vec<_> = run
        .versions
        .iter()
        .filter(|(name, _)| *name != "commit")
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let commit = run.versions.get("commit").map_or("unknown", String::as_str);
    let partial = match run.state {
        State::Partial => format!("**PARTIAL ({}).** ", why(run)),
        State::Complete | State::Invalid => String::new(),
    };
    let mode = if run.mode == "full" { String::new() } else { format!(" --{}", run.mode) };
    let memory = memory(run).map_or_else(String::new, |text| format!("; {text}"));
    format!(
        "{partial}Measured by `cargo x bench{mode}` on {} at commit {commit}: {}; {}. PostgreSQL, \
         Redis, the sidecars and the load generator share this machine{memory}. Medians over \
         clean rounds.\n",
        run.began_at.format("%Y-%m-%d"),
        machine(run),
        versions.join(", "),
    )
}

/// The text with what stands between two markers replaced; the markers stay.
pub fn replace_section(text: &str, begin: &str, end: &str, new: &str) -> Result<String> {
    for marker in [begin, end] {
        let times = text.matches(marker).count();
        ensure!(times == 1, "the marker {marker:?} stands {times} times in the text, not once");
    }
    let (before, rest) = text.split_once(begin).context("the first marker")?;
    let (_, after) = rest
        .split_once(end)
        .with_context(|| format!("the marker {end:?} stands before {begin:?}"))?;
    Ok(format!("{before}{begin}\n{}\n{end}{after}", new.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_table_names_machine_versions_commit_and_date() {
        let text = readme(&sample::run()).unwrap();
        for part in [
            "`cargo x bench --quick` on 2026-11-21 at commit 0123abc: 2 processors (Example CPU)",
            "postgres 15.18, redis 7.0.15",
            "| applied per second, as many as go | 7,843 | 3,922 | 980 |",
            "| at 1,000/s: commit to applied, P50 / P95 / P99 in ms | 2.55 / 5.10 / 10.2 |",
            "| 100,000 records imported and applied, in s | 3 | 6 | - |",
            "| changes lost / out of order, all rounds | 0 / 0 | 0 / 0 | 0 / 0 |",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("PARTIAL"));
    }

    #[test]
    fn a_partial_run_is_marked_and_a_stalled_one_is_refused() {
        let mut run = sample::run();
        run.state = State::Partial;
        assert!(readme(&run).unwrap().starts_with("**PARTIAL (it was broken off).**"));
        assert!(readme(&sample::invalid()).is_err());
    }

    #[test]
    fn a_section_is_replaced_between_its_markers_again_and_again() {
        let text = "# A\n<!-- begin -->\n<!-- end -->\nrest\n";
        let once = replace_section(text, "<!-- begin -->", "<!-- end -->", "new\n").unwrap();
        assert_eq!(once, "# A\n<!-- begin -->\nnew\n<!-- end -->\nrest\n");
        assert_eq!(replace_section(&once, "<!-- begin -->", "<!-- end -->", "new").unwrap(), once);
    }

    #[test]
    fn markers_that_are_missing_doubled_or_crossed_are_refused() {
        for text in ["b", "b e e", "e b", ""] {
            assert!(replace_section(text, "b", "e", "new").is_err(), "{text}");
        }
    }
}
