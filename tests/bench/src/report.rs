//! What a run says, in every form in which it is read: a table on the terminal, the same as
//! Markdown, JSON, plots, a comparison with an earlier run, a short table for the README.
//!
//! A run of a machine that stalled says why, and no number, in each of them.

use crate::figures::{Run, State};

mod compare;
mod json;
mod number;
mod page;
mod plots;
mod readme;
mod scenario;
mod spread;
mod summary;

#[cfg(test)]
pub(crate) mod sample;

pub use compare::{Comparison, Pair, compare};
pub use json::{load, save};
pub use plots::{Plot, plots};
pub use readme::{readme, replace_section};

pub(crate) use number::{number, ratio};
pub(crate) use spread::{Group, applied, cpu_sum, measured, of_limit, other, steady_rate};

/// For a terminal of 120 columns.
pub fn terminal(run: &Run) -> String {
    match run.state {
        State::Invalid => invalid(run),
        State::Complete | State::Partial => summary::page(run).text(),
    }
}

/// As Markdown.
pub fn markdown(run: &Run) -> String {
    match run.state {
        State::Invalid => invalid(run),
        State::Complete | State::Partial => summary::page(run).markdown(),
    }
}

/// What a stalled run says: the reasons of its rounds, each once.
fn invalid(run: &Run) -> String {
    let mut text = "INVALID: host stalled\n".to_owned();
    let mut reasons: Vec<String> = run.reason.clone().into_iter().collect();
    for round in &run.rounds {
        let Some(reason) = &round.discarded else { continue };
        let line = format!("{}, {}: {reason}", round.scenario, round.lane.name());
        if !reasons.contains(&line) {
            reasons.push(line);
        }
    }
    reasons.iter().for_each(|reason| text.push_str(&format!("- {reason}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_run_says_why_and_no_number() {
        let run = sample::invalid();
        for text in [terminal(&run), markdown(&run)] {
            assert!(text.starts_with("INVALID: host stalled\n- "), "{text}");
            let without_names = text.replace("steady-500,", "").replace("steady-1000,", "");
            let without_names = without_names.replace("steady-10000,", "");
            assert!(!without_names.contains(|c: char| c.is_ascii_digit()), "{text}");
            assert_eq!(text.lines().count(), 1 + 14, "each reason once");
        }
    }

    #[test]
    fn a_terminal_of_120_columns_shows_every_line_whole() {
        let mut run = sample::run();
        for round in &mut run.rounds {
            round.scenario = round.scenario.replace("steady-500", "growth-2000000");
            round.figures.commit_to_applied.p999 = 65_432.1 + f64::from(round.number) * 1_000.0;
            round.figures.scheduled_to_applied.p999 = 9_995.0 - f64::from(round.number) * 1_000.0;
        }
        let text = terminal(&run);
        for line in text.lines() {
            assert!(line.chars().count() <= page::WIDTH, "{line}");
        }
        assert!(text.contains("growth-2000000"));
    }
}
