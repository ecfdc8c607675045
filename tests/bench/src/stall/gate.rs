//! Decides which rounds count, from what was seen beside them.

use std::time::Duration;

use super::Speed;
use crate::clock::Moment;

/// A machine that is slower than this share of its best was not ours alone.
const SPEED_SHARE_MIN: f64 = 0.7;
/// A longer gap is in the tail of every latency.
const GAP_MAX: Duration = Duration::from_millis(50);
/// What a quiet machine does beside a run stays far below this share.
const OTHERS_MAX: f64 = 0.1;
/// How long a run goes on without a round that counts.
const PATIENCE: Duration = Duration::from_mins(10);
/// A single bad round ends no run, however long it is.
const DISCARDED_MIN: u32 = 2;

/// What was seen beside a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watched {
    /// The machine's speed just before it.
    pub before: Speed,
    /// The machine's speed just after it.
    pub after: Speed,
    /// The longest time that the host did not run a processor.
    pub longest_gap: Duration,
    /// The share of the processors that programs beside the run used.
    pub others: f64,
}

/// What becomes of a round, and of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Clean,
    /// It does not count, for this reason.
    Discarded(String),
    /// It does not count, and no round has for so long that the run says no number.
    Invalid(String),
}

/// The judge of a run's rounds: knows the best speed so far, and when a round last counted.
#[derive(Debug, Clone)]
pub struct Gate {
    best: Speed,
    clean_at: Moment,
    discarded: u32,
}

impl Gate {
    /// A run that begins now, with the machine at this speed.
    pub fn new(speed: Speed, now: Moment) -> Self {
        Self { best: speed, clean_at: now, discarded: 0 }
    }

    /// Judges a round that ended now.
    pub fn judge(&mut self, watched: &Watched, now: Moment) -> Verdict {
        for speed in [watched.before, watched.after] {
            self.best = Speed(self.best.0.max(speed.0));
        }
        let Some(complaint) = self.complaint(watched) else {
            (self.clean_at, self.discarded) = (now, 0);
            return Verdict::Clean;
        };
        self.discarded += 1;
        if self.discarded >= DISCARDED_MIN && now.since(self.clean_at) >= PATIENCE {
            return Verdict::Invalid(complaint);
        }
        Verdict::Discarded(complaint)
    }

    /// The lower of a round's speeds as share of the best of the run so far.
    pub fn share(&self, watched: &Watched) -> f64 {
        watched.before.0.min(watched.after.0) / self.best.0.max(f64::MIN_POSITIVE)
    }

    /// Why a round does not count; asked again at the end of the run, when the best speed is known,
    /// it may find more than it did when the round ended.
    pub fn complaint(&self, watched: &Watched) -> Option<String> {
        let share = self.share(watched);
        if watched.longest_gap > GAP_MAX {
            let gap = watched.longest_gap.as_millis();
            return Some(format!("the host did not run a processor for {gap} ms"));
        }
        if watched.others > OTHERS_MAX {
            let percent = (watched.others * 100.0).round();
            return Some(format!("other programs used {percent} % of the processors"));
        }
        let percent = (share * 100.0).floor();
        (share < SPEED_SHARE_MIN).then(|| format!("the machine ran at {percent} % of its best"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(before: f64, after: f64, gap_ms: u64) -> Watched {
        let longest_gap = Duration::from_millis(gap_ms);
        Watched { before: Speed(before), after: Speed(after), longest_gap, others: 0.02 }
    }

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    fn is_discarded(watched: &Watched) -> bool {
        matches!(Gate::new(Speed(600.0), at(0)).judge(watched, at(30)), Verdict::Discarded(_))
    }

    #[test]
    fn a_round_counts_if_the_machine_ran_before_meanwhile_and_after() {
        assert!(!is_discarded(&watched(430.0, 600.0, 50)));
        assert!(is_discarded(&watched(410.0, 600.0, 0)));
        assert!(is_discarded(&watched(600.0, 410.0, 0)));
        assert!(is_discarded(&watched(600.0, 600.0, 51)));
        assert!(is_discarded(&Watched { others: 0.11, ..watched(600.0, 600.0, 0) }));
    }

    #[test]
    fn a_faster_machine_later_on_speaks_against_rounds_that_counted() {
        let mut gate = Gate::new(Speed(300.0), at(0));
        let slow = watched(300.0, 310.0, 0);
        assert_eq!(gate.judge(&slow, at(30)), Verdict::Clean);
        assert_eq!(gate.judge(&watched(600.0, 590.0, 0), at(60)), Verdict::Clean);
        assert!((gate.share(&slow) - 0.5).abs() < 1e-6);
        assert_eq!(gate.complaint(&slow).as_deref(), Some("the machine ran at 50 % of its best"));
    }

    #[test]
    fn ten_minutes_without_a_clean_round_end_the_run() {
        let mut gate = Gate::new(Speed(600.0), at(0));
        let (clean, stalled) = (watched(600.0, 600.0, 3), watched(600.0, 600.0, 400));
        assert!(matches!(gate.judge(&stalled, at(599)), Verdict::Discarded(_)));
        assert_eq!(gate.judge(&clean, at(650)), Verdict::Clean);
        assert!(matches!(gate.judge(&stalled, at(1_249)), Verdict::Discarded(_)));
        let reason = "the host did not run a processor for 400 ms".to_owned();
        assert_eq!(gate.judge(&stalled, at(1_250)), Verdict::Invalid(reason));
    }

    #[test]
    fn one_long_round_alone_ends_no_run() {
        let mut gate = Gate::new(Speed(600.0), at(0));
        assert!(matches!(gate.judge(&watched(600.0, 600.0, 90), at(700)), Verdict::Discarded(_)));
        assert!(matches!(gate.judge(&watched(600.0, 600.0, 90), at(701)), Verdict::Invalid(_)));
    }
}
