//! What several rounds of the same say together: the median, and from where to where they reached.

use std::collections::BTreeSet;

use crate::figures::{Lane, Latency, Round};

/// One figure over the rounds that count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The one in the middle.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) low: f64,
    /// The largest.
    pub(crate) high: f64,
}

impl Spread {
    /// Of these figures; none if there is none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().filter(|one| one.is_finite()).collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let upper = *figures.get(middle)?;
        let lower = *figures.get(figures.len().div_ceil(2) - 1)?;
        let (low, high) = (*figures.first()?, *figures.last()?);
        Some(Self { median: f64::midpoint(lower, upper), low, high })
    }
}

/// The rounds of one scenario in one lane.
#[derive(Debug, Clone)]
pub(crate) struct Group<'a> {
    /// The scenario.
    pub(crate) scenario: &'a str,
    /// The lane.
    pub(crate) lane: Lane,
    /// Those that count.
    pub(crate) clean: Vec<&'a Round>,
    /// Those that do not.
    pub(crate) discarded: Vec<&'a Round>,
}

impl<'a> Group<'a> {
    /// The rounds of a scenario in a lane.
    pub(crate) fn of(rounds: &'a [Round], scenario: &'a str, lane: Lane) -> Self {
        let of_both =
            rounds.iter().filter(|round| round.scenario == scenario && round.lane == lane);
        let (clean, discarded) = of_both.partition(|round| round.discarded.is_none());
        Self { scenario, lane, clean, discarded }
    }

    /// One figure of it, over the clean rounds that have it.
    pub(crate) fn spread(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.clean.iter().filter_map(|round| figure(round)))
    }

    /// The median of one figure.
    pub(crate) fn median(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        self.spread(figure).map(|spread| spread.median)
    }

    /// Something counted, summed over all rounds: what was lost in a discarded one is lost.
    pub(crate) fn sum(&self, counted: impl Fn(&Round) -> u64) -> u64 {
        self.clean.iter().chain(&self.discarded).map(|round| counted(round)).sum()
    }

    /// Whether it has no round that counts.
    pub(crate) const fn is_empty(&self) -> bool {
        self.clean.is_empty()
    }

    /// Rates of this lane as share of those of another in the round of the same number; of the
    /// medians if no number is common to both.
    pub(crate) fn rate_of(&self, other: &Self) -> Option<Spread> {
        let pairs = self.clean.iter().filter_map(|round| {
            let beside = other.clean.iter().find(|beside| beside.number == round.number)?;
            share(applied(round)?, applied(beside)?)
        });
        Spread::of(pairs)
            .or_else(|| Spread::of(share(self.median(applied)?, other.median(applied)?)))
    }
}

/// Part of a whole, unless there is no whole.
fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// Changes applied per second.
pub(crate) fn applied(round: &Round) -> Option<f64> {
    (round.figures.applied > 0.0).then_some(round.figures.applied)
}

/// Changes applied per second as share of what this machine could do just before.
pub(crate) fn of_limit(round: &Round) -> Option<f64> {
    share(applied(round)?, round.limit?.narrowest())
}

/// A latency, if it was measured.
pub(crate) fn measured(latency: Latency) -> Option<Latency> {
    (latency.count > 0).then_some(latency)
}

/// Microseconds of processor per change, of all processes together.
pub(crate) fn cpu_sum(round: &Round) -> Option<f64> {
    let cpu = &round.figures.cpu_us;
    (!cpu.is_empty()).then(|| cpu.values().sum())
}

/// A figure among the others.
pub(crate) fn other(name: &str) -> impl Fn(&Round) -> Option<f64> {
    move |round| round.figures.others.get(name).copied()
}

/// The scenarios in the order of the run.
pub(crate) fn scenarios(rounds: &[Round]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    rounds.iter().map(|round| round.scenario.as_str()).filter(|name| seen.insert(*name)).collect()
}

/// The rate that a scenario offers by its name, changes per second.
pub(crate) fn steady_rate(scenario: &str) -> Option<u32> {
    scenario.strip_prefix("steady-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{discarded, round};
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle_or_between_two() {
        let spread = Spread::of([3.0, 1.0, f64::NAN, 9.0]).unwrap();
        assert_eq!((spread.median, spread.low, spread.high), (3.0, 1.0, 9.0));
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn discarded_rounds_say_nothing_but_what_they_lost() {
        let mut stalled = discarded(round("flood", Lane::Direct, 2));
        stalled.figures.applied = 1.0;
        stalled.figures.lost = 3;
        let rounds = [round("flood", Lane::Direct, 1), stalled];
        let group = Group::of(&rounds, "flood", Lane::Direct);
        assert_eq!(group.median(applied), Some(rounds[0].figures.applied));
        assert_eq!(group.sum(|round| round.figures.lost), 3);
    }

    #[test]
    fn ratios_are_of_rounds_of_the_same_number() {
        let rate = |lane, number, applied| {
            let mut round = round("flood", lane, number);
            round.figures.applied = applied;
            round
        };
        let rounds = [
            rate(Lane::Direct, 1, 10.0),
            rate(Lane::Direct, 2, 100.0),
            rate(Lane::Dapr, 1, 5.0),
            rate(Lane::Dapr, 2, 70.0),
        ];
        let [direct, dapr] =
            [Lane::Direct, Lane::Dapr].map(|lane| Group::of(&rounds, "flood", lane));
        let ratio = dapr.rate_of(&direct).unwrap();
        assert_eq!((ratio.low, ratio.high), (0.5, 0.7));
        let plain = Group::of(&rounds, "flood", Lane::PlainDapr);
        assert_eq!(plain.rate_of(&dapr), None);
        let apart = [rate(Lane::Direct, 1, 10.0), rate(Lane::Dapr, 2, 5.0)];
        let [direct, dapr] =
            [Lane::Direct, Lane::Dapr].map(|lane| Group::of(&apart, "flood", lane));
        assert_eq!(dapr.rate_of(&direct).unwrap().median, 0.5);
    }
}
