//! Joins what was written with what was applied: from two logs and the books to figures.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::clock::Moment;
use crate::figures::{Figures, Latency};
use crate::ops::{Op, Outcome};

/// A change as the source numbered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Its number in the stream.
    pub pn: i64,
    /// Its key.
    pub key: String,
    /// Its version.
    pub version: i64,
    /// The number that the writer gave it; deletes have none.
    pub seq: Option<u64>,
    /// When it was sealed.
    pub sealed: Moment,
}

/// What a consumer noted.
#[derive(Debug, Default)]
pub struct Notes {
    /// Positions of the measured stream with the moments at which they were reached, in order.
    pub moved: Vec<(i64, Moment)>,
    /// When the cached value of a key was ended, in order.
    pub cleaned: HashMap<String, Vec<Moment>>,
}

impl Notes {
    /// Reads what the consumer answered.
    pub fn read(text: &str, stream: &str) -> anyhow::Result<Self> {
        let mut notes = Self::default();
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words.as_slice() {
                ["moved", name, pn, at] if *name == stream => {
                    notes.moved.push((pn.parse()?, Moment(at.parse()?)));
                }
                ["moved", ..] => {}
                ["cleaned", key, at] => {
                    notes.cleaned.entry((*key).to_owned()).or_default().push(Moment(at.parse()?));
                }
                _ => anyhow::bail!("the consumer noted {line:?}"),
            }
        }
        Ok(notes)
    }

    /// When this number was applied: at the first move that reached it.
    pub fn applied(&self, pn: i64) -> Option<Moment> {
        let at = self.moved.partition_point(|(reached, _)| *reached < pn);
        self.moved.get(at).map(|(_, moment)| *moment)
    }

    /// When the cache was first clean after this moment.
    fn clean(&self, key: &str, after: Moment) -> Option<Moment> {
        let cleaned = self.cleaned.get(key)?;
        cleaned.get(cleaned.partition_point(|moment| *moment < after)).copied()
    }
}

/// When one change arrived where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// When the source had numbered it, where it does.
    pub sealed: Option<Moment>,
    /// When the copy had it.
    pub applied: Moment,
    /// When the cache was rid of the older one.
    pub clean: Option<Moment>,
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It made no change.
    NoChange,
    /// Its change arrived.
    Arrived(Arrived),
    /// Its change never arrived.
    Lost,
}

/// Figures of latency and loss, of what was written through Syncline; costs are added by whoever
/// counted them.
pub fn join(ops: &[Op], numbered: &[Numbered], notes: &Notes) -> anyhow::Result<Figures> {
    let by_seq: HashMap<u64, &Numbered> =
        numbered.iter().filter_map(|change| Some((change.seq?, change))).collect();
    let mut deletes = deletes(numbered);
    judge(ops, |op| {
        let change = match op.outcome {
            Outcome::Refused => return Fate::NoChange,
            Outcome::Failed | Outcome::Put => by_seq.get(&op.seq).copied(),
            Outcome::Deleted => {
                deletes.get_mut(&crate::workload::sku(op.key)).and_then(VecDeque::pop_front)
            }
        };
        match (change, change.and_then(|change| notes.applied(change.pn))) {
            (Some(change), Some(applied)) => Fate::Arrived(Arrived {
                sealed: Some(change.sealed),
                applied,
                clean: notes.clean(&change.key, applied),
            }),
            // What failed and is not in the books was rolled back.
            (None, _) if op.outcome == Outcome::Failed => Fate::NoChange,
            (None, _) | (Some(_), None) => Fate::Lost,
        }
    })
}

/// Figures of latency and loss, once it is known what became of each operation; asked in the order
/// of their answers.
pub fn judge(ops: &[Op], mut fate: impl FnMut(&Op) -> Fate) -> anyhow::Result<Figures> {
    let mut times = Times::default();
    let (mut changes, mut lost, mut last) = (0_u64, 0_u64, None);
    let mut ops: Vec<&Op> = ops.iter().collect();
    ops.sort_by_key(|op| op.answered);
    for op in &ops {
        match fate(op) {
            Fate::NoChange => continue,
            Fate::Lost => lost += 1,
            Fate::Arrived(arrived) => {
                last = last.max(Some(arrived.applied));
                times.take(op, &arrived)?;
            }
        }
        changes += 1;
    }
    let first = ops.iter().map(|op| op.began).min();
    let took = last.zip(first).map_or(0.0, |(last, first)| last.since(first).as_secs_f64());
    let mut figures = times.figures();
    if let Some(end) = ops.last().map(|op| op.answered) {
        figures.others.insert("lag_end_s".to_owned(), times.lag(end).as_secs_f64());
        let drained = last.map_or(Duration::ZERO, |last| last.since(end));
        figures.others.insert("drain_s".to_owned(), drained.as_secs_f64());
    }
    Ok(Figures { changes, lost, applied: rate(changes - lost, took), ..figures })
}

fn rate(count: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// The deletes of each key in the order of their versions, which is that of their answers.
fn deletes(numbered: &[Numbered]) -> HashMap<String, VecDeque<&Numbered>> {
    let mut deletes: HashMap<String, Vec<&Numbered>> = HashMap::new();
    for change in numbered.iter().filter(|change| change.seq.is_none()) {
        deletes.entry(change.key.clone()).or_default().push(change);
    }
    let sorted = deletes.into_iter().map(|(key, mut of_key)| {
        of_key.sort_by_key(|change| change.version);
        (key, VecDeque::from(of_key))
    });
    sorted.collect()
}

/// The times of all changes of a scenario.
#[derive(Debug, Default)]
struct Times {
    scheduled_to_applied: Spread,
    commit_to_applied: Spread,
    commit_to_clean: Spread,
    detect: Spread,
    invalidate: Spread,
    /// When each was committed, and when it was applied.
    ways: Vec<(Moment, Moment)>,
}

impl Times {
    fn take(&mut self, op: &Op, arrived: &Arrived) -> anyhow::Result<()> {
        let Arrived { sealed, applied, clean } = *arrived;
        self.scheduled_to_applied.note(op.scheduled, applied)?;
        self.commit_to_applied.note(op.committed, applied)?;
        self.ways.push((op.committed, applied));
        if let Some(sealed) = sealed {
            self.detect.note(op.committed, sealed)?;
        }
        if let Some(clean) = clean {
            self.commit_to_clean.note(op.committed, clean)?;
            self.invalidate.note(applied, clean)?;
        }
        Ok(())
    }

    /// How long the oldest change that was not applied at this moment had been committed by then.
    fn lag(&self, end: Moment) -> Duration {
        let late = self.ways.iter().filter(|(_, applied)| *applied > end);
        late.map(|(committed, _)| end.since(*committed)).max().unwrap_or_default()
    }

    fn figures(&self) -> Figures {
        let steps = [("detect", &self.detect), ("invalidate", &self.invalidate)];
        let steps = steps.map(|(name, spread)| (name.to_owned(), spread.latency()));
        Figures {
            scheduled_to_applied: self.scheduled_to_applied.latency(),
            commit_to_applied: self.commit_to_applied.latency(),
            commit_to_clean: self.commit_to_clean.latency(),
            steps: BTreeMap::from(steps),
            ..Figures::default()
        }
    }
}

/// Many durations.
#[derive(Debug)]
pub struct Spread(Histogram<u64>);

impl Default for Spread {
    fn default() -> Self {
        Self(Histogram::new(3).expect("three digits are allowed"))
    }
}

impl Spread {
    /// From one moment to another; nothing if it came before.
    pub fn note(&mut self, from: Moment, to: Moment) -> anyhow::Result<()> {
        let micros = u64::try_from(to.since(from).as_micros())?;
        self.0.record(micros).context("recording a duration")
    }

    /// In milliseconds.
    pub fn latency(&self) -> Latency {
        #[expect(clippy::cast_precision_loss, reason = "microseconds are far below 2^52")]
        let at = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1_000.0;
        if self.0.is_empty() {
            return Latency::default();
        }
        Latency {
            count: self.0.len(),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::sku;

    fn op(seq: u64, key: u32, outcome: Outcome, at: u64) -> Op {
        let (scheduled, began) = (Moment(at - 2_000), Moment(at - 1_000));
        Op { seq, key, outcome, scheduled, began, committed: Moment(at), answered: Moment(at) }
    }

    fn change(pn: i64, key: u32, version: i64, seq: Option<u64>) -> Numbered {
        Numbered { pn, key: sku(key), version, seq, sealed: Moment(10_500) }
    }

    #[test]
    fn a_change_is_applied_when_a_move_reached_its_number() {
        let ops = [
            op(1, 1, Outcome::Put, 10_000),
            op(2, 2, Outcome::Deleted, 11_000),
            op(3, 3, Outcome::Refused, 12_000),
            op(4, 4, Outcome::Put, 13_000),
            op(5, 5, Outcome::Failed, 14_000),
        ];
        let numbered = [change(1, 1, 1, Some(1)), change(2, 2, 3, None), change(3, 4, 1, Some(4))];
        let text = format!(
            "moved s 2 15000\nmoved other 9 1\ncleaned {} 14000\ncleaned {} 16000",
            sku(1),
            sku(1)
        );
        let notes = Notes::read(&text, "s").unwrap();
        let figures = join(&ops, &numbered, &notes).unwrap();
        assert_eq!((figures.changes, figures.lost), (3, 1), "the fourth was never applied");
        let near = |had: f64, wanted: f64| assert!((had - wanted).abs() < 0.02, "{had} {wanted}");
        near(figures.commit_to_applied.max, 5.0);
        near(figures.commit_to_applied.p50, 4.0);
        near(figures.scheduled_to_applied.max, 7.0);
        assert_eq!(figures.commit_to_clean.count, 1);
        // The last answer came at 14 ms, when the first had waited for 4 ms and needed 1 more.
        near(figures.others["lag_end_s"], 0.004);
        near(figures.others["drain_s"], 0.001);
        near(figures.commit_to_clean.max, 6.0);
    }
}
