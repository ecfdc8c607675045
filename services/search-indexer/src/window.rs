//! When the index commits next.
//!
//! A commit costs about the same whether one key or a hundred are in it, and leaves a segment to be
//! merged. The first change after a pause is committed at once; under load there is one commit in a
//! window, which takes what is waiting then. Decided from what the last commit cost, without a
//! clock: every time is one since the start of the process.

use std::time::Duration;

/// From one commit's start to the next: twenty commits a second.
const WINDOW: Duration = Duration::from_millis(50);
/// The same while merges are behind, so that they catch up.
const LONG_WINDOW: Duration = Duration::from_millis(250);
/// With so many segments merges are behind: every search looks into each of them.
const SEGMENTS_MANY: usize = 24;

/// What a commit cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// When its first part was read.
    pub(crate) started: Duration,
    /// From there until it could be found.
    pub(crate) took: Duration,
    /// Into how many segments a search looks since.
    pub(crate) segments: usize,
}

/// The window after the last commit; there is none before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    ends: Duration,
}

impl Window {
    /// How long to wait before the next commit; nothing after a pause.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        self.ends.saturating_sub(now)
    }

    /// A commit was made. A fifth of the time, at least, is left to searches and merges.
    pub(crate) fn step(&mut self, made: Cost) {
        let window = if made.segments >= SEGMENTS_MANY { LONG_WINDOW } else { WINDOW };
        self.ends = made.started + window.max(made.took + made.took / 4);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn cost(started: u64, took: u64) -> Cost {
        Cost { started: ms(started), took: ms(took), segments: 10 }
    }

    #[test]
    fn the_first_change_after_a_pause_waits_for_nothing_and_the_next_for_the_window() {
        let mut window = Window::default();
        assert_eq!(window.wait(ms(0)), ms(0));
        window.step(cost(1_000, 10));
        assert_eq!((window.wait(ms(1_010)), window.wait(ms(1_050))), (ms(40), ms(0)));
        assert_eq!(window.wait(ms(9_000)), ms(0));
    }

    #[test]
    fn a_commit_that_outlasts_its_window_leaves_time_to_others() {
        let mut window = Window::default();
        window.step(cost(0, 80));
        assert_eq!(window.wait(ms(80)), ms(20));
    }

    #[test]
    fn while_merges_are_behind_they_get_more_time() {
        let mut window = Window::default();
        window.step(Cost { segments: SEGMENTS_MANY, ..cost(0, 10) });
        assert_eq!(window.wait(ms(0)), LONG_WINDOW);
        window.step(Cost { segments: SEGMENTS_MANY - 1, ..cost(250, 10) });
        assert_eq!(window.wait(ms(250)), WINDOW);
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_twenty_commits(
            commits in proptest::collection::vec((0_u64..120, 0_usize..40, 0_u64..200), 1..200)
        ) {
            let mut window = Window::default();
            let (mut now, mut starts) = (ms(0), Vec::new());
            for (took, segments, pause) in commits {
                now += window.wait(now);
                starts.push(now);
                window.step(Cost { started: now, took: ms(took), segments });
                now += ms(took + if pause > 150 { pause } else { 0 });
            }
            for (at, start) in starts.iter().enumerate() {
                let within = starts[at..].iter().filter(|other| **other < *start + ms(1_000));
                prop_assert!(within.count() <= 20);
            }
        }
    }
}
