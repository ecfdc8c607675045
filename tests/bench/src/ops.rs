//! What was written and when it was answered: one line per change, from the writer to its judge.

use std::fmt;
use std::str::FromStr;

use anyhow::Context as _;

use crate::clock::Moment;

/// What the owner said to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It replaced a product.
    Put,
    /// It deleted a product.
    Deleted,
    /// The owner refused it, as was meant.
    Refused,
    /// It failed, and what became of it is unknown.
    Failed,
}

/// One change that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// Its number.
    pub seq: u64,
    /// Its product.
    pub key: u32,
    /// What the owner said.
    pub outcome: Outcome,
    /// When it should have been written.
    pub scheduled: Moment,
    /// When its write began.
    pub began: Moment,
    /// When its commit was answered, as far as the writer could see.
    pub committed: Moment,
    /// When the owner answered.
    pub answered: Moment,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Put => 'p',
            Outcome::Deleted => 'd',
            Outcome::Refused => 'r',
            Outcome::Failed => 'f',
        };
        write!(f, "{outcome} {} {}", self.seq, self.key)?;
        let moments = [self.scheduled, self.began, self.committed, self.answered];
        moments.iter().try_for_each(|moment| write!(f, " {}", moment.0))
    }
}

impl FromStr for Op {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let mut words = line.split(' ');
        let outcome = match words.next() {
            Some("p") => Outcome::Put,
            Some("d") => Outcome::Deleted,
            Some("r") => Outcome::Refused,
            Some("f") => Outcome::Failed,
            other => anyhow::bail!("{other:?} is no outcome"),
        };
        let mut next = || words.next().context("a number")?.parse::<u64>().context("a number");
        let (seq, key) = (next()?, u32::try_from(next()?)?);
        let (scheduled, began) = (Moment(next()?), Moment(next()?));
        let (committed, answered) = (Moment(next()?), Moment(next()?));
        Ok(Self { seq, key, outcome, scheduled, began, committed, answered })
    }
}

/// Reads a whole log.
pub fn read(text: &str) -> anyhow::Result<Vec<Op>> {
    text.lines().map(|line| line.parse().with_context(|| format!("reading {line:?}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_as_it_went() {
        for outcome in [Outcome::Put, Outcome::Deleted, Outcome::Refused, Outcome::Failed] {
            let op = Op {
                seq: 7,
                key: 3,
                outcome,
                scheduled: Moment(10),
                began: Moment(11),
                committed: Moment(14),
                answered: Moment(15),
            };
            assert_eq!(read(&op.to_string()).unwrap(), [op]);
        }
        assert!(read("p 1 2 3").is_err());
    }
}
