//! How far an upload is done, and what became of its lines.

use service_kit::Problem;

use super::collection::{Outcome, Reference};

/// What became of the lines of an upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) stored: i64,
    pub(super) unchanged: i64,
    pub(super) refused: i64,
    /// Of those that were stored or unchanged.
    pub(super) waiting: i64,
}

impl Totals {
    /// Every line has one outcome.
    pub(super) fn lines(&self) -> i64 {
        self.stored + self.unchanged + self.refused
    }

    pub(super) fn count(&mut self, outcome: &Outcome) {
        let reference = match outcome {
            Outcome::Stored(reference) => {
                self.stored += 1;
                *reference
            }
            Outcome::Unchanged(reference) => {
                self.unchanged += 1;
                *reference
            }
            Outcome::Refused(_) => {
                self.refused += 1;
                Reference::Known
            }
        };
        if reference == Reference::Awaited {
            self.waiting += 1;
        }
    }
}

/// How far an upload is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    /// The prefix of the file that is done: its length and SHA-256.
    pub(super) bytes: i64,
    pub(super) digest: Vec<u8>,
    /// The last line that is done; 0 before the first.
    pub(super) line: i64,
    pub(super) totals: Totals,
    pub(super) state: State,
}

/// Whether the end of the file was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Finished,
}

/// Why a line was refused; one of possibly several reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) line: i64,
    pub(super) number: i32,
    pub(super) field: String,
    pub(super) code: String,
    pub(super) reason: String,
}

/// What is kept of the name of a field or of a reason: both may quote the line.
const CHARS_MAX: usize = 500;

impl Refusal {
    /// The reasons that a problem names.
    pub(super) fn of(line: i64, problem: &Problem) -> Vec<Self> {
        let problem = problem.body();
        if problem.errors.is_empty() {
            let reason = problem.detail.as_deref().unwrap_or(&problem.title);
            return vec![Self::new(line, 0, ("", &problem.code, reason))];
        }
        let errors = (0..).zip(&problem.errors);
        errors
            .map(|(number, error)| {
                Self::new(line, number, (&error.pointer, &error.code, &error.message))
            })
            .collect()
    }

    fn new(line: i64, number: i32, (field, code, reason): (&str, &str, &str)) -> Self {
        // To the parser each record is a document of one line.
        let reason = reason.replace(" at line 1 column ", " at its byte ");
        let (field, code, reason) = (storable(field), storable(code), storable(&reason));
        Self { line, number, field, code, reason }
    }
}

/// PostgreSQL holds every character but one.
fn storable(text: &str) -> String {
    text.chars().take(CHARS_MAX).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_a_refusal_is_kept_in_a_storable_form() {
        let problem = Problem::invalid("see errors").field("/a\0", "length", "x".repeat(9999));
        let refusals = Refusal::of(7, &problem.field("/b", "range", "must be 1"));
        assert_eq!(refusals.len(), 2);
        assert_eq!((refusals[0].field.as_str(), refusals[0].reason.len()), ("/a\u{fffd}", 500));
        assert_eq!((refusals[1].line, refusals[1].number), (7, 1));
        let broken = Problem::invalid("x").field("", "broken-json", "no value at line 1 column 9");
        assert_eq!(Refusal::of(7, &broken)[0].reason, "no value at its byte 9");
        let plain = Refusal::of(1, &Problem::invalid("because"));
        assert_eq!((plain[0].field.as_str(), plain[0].reason.as_str()), ("", "because"));
    }
}
