//! What was sealed last, kept until it is published: so the newest changes are read once.

use std::collections::BTreeMap;

use contracts::{Pn, Stream};

use super::feed::Run;
use super::store::Room;

/// Changes that a tick answers itself: about what travels in one envelope.
pub(super) const ANSWERED: Room = Room { rows_max: 100, bytes_max: 1 << 18 };

/// Changes of one stream that are kept; who has fallen further behind reads.
const KEPT: Room = Room { rows_max: 1_000, bytes_max: 1 << 20 };

/// The newest changes of each stream, without a gap. To find nothing here means to read.
#[derive(Debug, Default)]
pub(super) struct Fresh(BTreeMap<Stream, Run>);

impl Fresh {
    /// Keeps what a tick answered.
    pub(super) fn add(&mut self, sealed: Vec<(Stream, Run)>) {
        for (stream, run) in sealed {
            match self.0.remove(&stream) {
                Some(mut kept) => {
                    if kept.join(run, KEPT) {
                        self.0.insert(stream, kept);
                    }
                }
                None => _ = self.0.insert(stream, run),
            }
        }
    }

    /// Takes what follows this number, if it begins right there.
    pub(super) fn take(&mut self, stream: &Stream, after: Pn) -> Option<Run> {
        self.0.remove(stream).filter(|run| run.first() == after.plus(1))
    }

    /// Forgets all: under another term the same numbers may mean other changes.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        Stream::parse("shop.items.normal").unwrap()
    }

    fn pn(n: i64) -> Pn {
        Pn::try_from(n).unwrap()
    }

    fn kept(runs: &[(i64, usize)]) -> Fresh {
        let mut fresh = Fresh::default();
        for (first, count) in runs {
            fresh.add(vec![(stream(), Run::of(pn(*first), *count))]);
        }
        fresh
    }

    fn taken(runs: &[(i64, usize)], after: i64) -> Option<usize> {
        kept(runs).take(&stream(), pn(after)).map(|run| run.len())
    }

    #[test]
    fn what_ticks_answered_is_taken_as_one_where_it_connects() {
        assert_eq!(taken(&[(1, 3)], 0), Some(3));
        assert_eq!(taken(&[(1, 3), (4, 2)], 0), Some(5));
        assert_eq!(taken(&[(4, 2)], 0), None, "something before it is missing");
        assert_eq!(taken(&[(1, 3)], 1), None, "some of it was published");
        assert_eq!(taken(&[], 0), None);
    }

    #[test]
    fn after_a_gap_or_beyond_the_room_all_is_read() {
        assert_eq!(taken(&[(1, 3), (5, 2)], 0), None);
        assert_eq!(taken(&[(1, 600), (601, 600)], 0), None);
    }

    #[test]
    fn it_is_taken_once_and_forgotten_with_its_term() {
        let mut fresh = kept(&[(1, 3)]);
        assert!(fresh.take(&stream(), pn(0)).is_some());
        assert!(fresh.take(&stream(), pn(0)).is_none());
        let mut fresh = kept(&[(1, 3)]);
        fresh.clear();
        assert!(fresh.take(&stream(), pn(0)).is_none());
    }
}
