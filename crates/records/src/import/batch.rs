//! Lines that are stored in one transaction.

use std::collections::BTreeSet;

use service_kit::{Json, Problem};

use super::{
    collection::Collection,
    lines::{Found, utf8},
};

/// The most that the records of a batch may weigh together; one alone may weigh more.
const WEIGHT_MAX: usize = 1_000;

/// Lines that are stored in one transaction, each key at most once.
pub(super) struct Batch<C: Collection> {
    /// Sound records.
    pub(super) records: Vec<C::Record>,
    /// The line of each record.
    pub(super) lines: Vec<i64>,
    /// Lines that are refused already.
    pub(super) refused: Vec<(i64, Problem)>,
    keys: BTreeSet<String>,
    weight: usize,
}

/// A line that was read and checked.
pub(super) struct Parsed<C: Collection> {
    line: i64,
    /// How long it is.
    pub(super) bytes: usize,
    /// What is written with the record, as its collection says.
    pub(super) weight: usize,
    pub(super) record: Result<(String, C::Record), Problem>,
}

/// Reads and checks a line by the rules of its collection.
pub(super) fn parse<C: Collection>(found: Found) -> Parsed<C> {
    let bytes = found.json.as_ref().map_or(0, Vec::len);
    let record = found.json.and_then(|json| {
        utf8(&json)?;
        let record = C::record(Json::<C::Body>::read(&json)?)?;
        Ok((C::key(&record), record))
    });
    Parsed { line: i64::try_from(found.line).unwrap_or(i64::MAX), bytes, weight: 1, record }
}

impl<C: Collection> Batch<C> {
    pub(super) fn new() -> Self {
        Self {
            records: Vec::new(),
            lines: Vec::new(),
            refused: Vec::new(),
            keys: BTreeSet::new(),
            weight: 0,
        }
    }

    /// Whether this line must wait for the next batch.
    pub(super) fn is_closed_to(&self, parsed: &Parsed<C>) -> bool {
        let is_twice = parsed.record.as_ref().is_ok_and(|(key, _)| self.keys.contains(key));
        let lines = self.records.len() + self.refused.len();
        let is_heavy = lines > 0 && self.weight.saturating_add(parsed.weight) > WEIGHT_MAX;
        is_twice || is_heavy
    }

    pub(super) fn push(&mut self, parsed: Parsed<C>) {
        self.weight = self.weight.saturating_add(parsed.weight);
        match parsed.record {
            Ok((key, record)) => {
                self.keys.insert(key);
                self.records.push(record);
                self.lines.push(parsed.line);
            }
            Err(problem) => self.refused.push((parsed.line, problem)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.refused.is_empty()
    }

    /// The last of its lines.
    pub(super) fn last_line(&self) -> Option<i64> {
        let refused = self.refused.last().map(|(line, _)| *line);
        self.lines.last().copied().max(refused)
    }
}
