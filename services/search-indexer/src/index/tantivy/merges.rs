//! Which segments become one: few enough that a search stays fast, and no document is written more
//! often than that needs.
//!
//! Segments of about one size are merged once there are `FAN` of them, so that a document is
//! rewritten once per size and not once per commit. Merges run beside commits and searches, which
//! see the old segments until the new one is there.

use tantivy::index::SegmentMeta;
use tantivy::indexer::{MergeCandidate, MergePolicy};

/// How many segments of one size become one, and how much larger the next size is.
const FAN: usize = 6;
/// Up to so many documents a segment has the smallest size.
const SMALL: u32 = 300;
/// With so many segments the smallest are merged whatever their sizes.
const MANY: usize = 20;
/// A segment that has lost so many documents, and more than it has left, is written anew alone.
const DEAD_MIN: u32 = 10_000;

/// The documents of a segment that can be found, and those that cannot any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    alive: u32,
    dead: u32,
}

/// The policy as the index's writer asks it.
#[derive(Debug)]
pub(super) struct BySize;

impl MergePolicy for BySize {
    fn compute_merge_candidates(&self, segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
        let sized = segments.iter().map(|segment| {
            let size = Size { alive: segment.num_docs(), dead: segment.num_deleted_docs() };
            (size, segment.id())
        });
        merges(sized.collect()).into_iter().map(MergeCandidate).collect()
    }
}

/// The names of the segments that become one each.
fn merges<N: Copy + Ord>(mut segments: Vec<(Size, N)>) -> Vec<Vec<N>> {
    segments.sort_by_key(|(size, name)| (size.alive, *name));
    let (dead, segments): (Vec<_>, Vec<_>) =
        segments.into_iter().partition(|(size, _)| is_mostly_dead(*size));
    let mut found: Vec<Vec<N>> = dead.into_iter().map(|(_, name)| vec![name]).collect();
    let mut rest = Vec::new();
    for same in segments.chunk_by(|(one, _), (other, _)| step(*one) == step(*other)) {
        let names: Vec<N> = same.iter().map(|(_, name)| *name).collect();
        match names.len() / FAN {
            0 => rest.extend(names),
            several => {
                let pieces = names.chunks(names.len().div_ceil(several));
                found.extend(pieces.filter(|piece| piece.len() > 1).map(<[N]>::to_vec));
            }
        }
    }
    if rest.len() >= MANY {
        rest.truncate(rest.len() + FAN - MANY);
        found.push(rest);
    }
    found
}

fn is_mostly_dead(size: Size) -> bool {
    size.dead >= DEAD_MIN && size.dead > size.alive
}

/// The place of a size among all sizes.
fn step(size: Size) -> u32 {
    let fan = u32::try_from(FAN).unwrap_or(u32::MAX);
    (size.alive / SMALL).checked_ilog(fan).map_or(0, |log| log + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const fn alive(alive: u32) -> Size {
        Size { alive, dead: 0 }
    }

    /// By their places.
    fn merges_of(sizes: &[Size]) -> Vec<Vec<usize>> {
        merges(sizes.iter().copied().zip(0..).collect())
    }

    #[test]
    fn segments_of_one_size_become_one_once_there_are_enough() {
        let mut sizes = vec![alive(100_000), alive(50), alive(2_000), alive(1), alive(299)];
        assert!(merges_of(&sizes).is_empty());
        sizes.extend([alive(50), alive(80), alive(60)]);
        assert_eq!(merges_of(&sizes), [[3, 1, 5, 7, 6, 4]]);
    }

    #[test]
    fn a_long_list_becomes_several() {
        let lengths: Vec<usize> = merges_of(&[alive(40_000); 20]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [7, 7, 6]);
    }

    #[test]
    fn a_segment_of_which_most_is_gone_is_written_anew() {
        let sizes = [Size { alive: 9_000, dead: 11_000 }, Size { alive: 9_000, dead: 8_000 }];
        assert_eq!(merges_of(&sizes), [[0]]);
    }

    #[test]
    fn many_segments_of_different_sizes_are_too_many() {
        let sizes: Vec<Size> =
            [10, 400, 3_000, 20_000].iter().flat_map(|size| [alive(*size); 5]).collect();
        assert_eq!(merges_of(&sizes), [[0, 1, 2, 3, 4, 5]]);
    }

    /// Each commit adds a segment, and every merge ends before the next commit but one.
    #[test]
    fn a_stream_of_commits_neither_leaves_many_segments_nor_writes_a_document_often() {
        let mut sizes = vec![alive(50_000), alive(30_000), alive(20_000)];
        let (mut most, mut written, mut running) = (0, 0_u64, Vec::new());
        for _ in 0..20_000 {
            for merged in running.drain(..) {
                written += u64::from(merged);
                sizes.push(alive(merged));
            }
            sizes.push(alive(50));
            most = most.max(sizes.len());
            let found = merges_of(&sizes);
            let total = |merge: &Vec<usize>| merge.iter().map(|at| sizes[*at].alive).sum::<u32>();
            running = found.iter().map(total).collect();
            let taken: BTreeSet<usize> = found.into_iter().flatten().collect();
            let mut places = 0..;
            sizes.retain(|_| !taken.contains(&places.next().unwrap()));
        }
        assert!(most <= MANY, "{most} segments");
        assert!(written < 20_000 * 50 * 10, "{written} documents");
    }

    proptest! {
        #[test]
        fn no_segment_is_in_two_merges_and_none_is_merged_alone_but_to_shed_the_dead(
            sizes in proptest::collection::vec((0_u32..200_000, 0_u32..50_000), 0..60)
        ) {
            let sizes: Vec<Size> =
                sizes.into_iter().map(|(alive, dead)| Size { alive, dead }).collect();
            let found = merges_of(&sizes);
            let all: Vec<usize> = found.iter().flatten().copied().collect();
            prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            for merge in &found {
                prop_assert!(merge.len() > 1 || is_mostly_dead(sizes[merge[0]]));
            }
            prop_assert!(sizes.len() - all.len() <= MANY);
        }
    }
}
