//! How consecutive changes are cut into envelopes.

use std::ops::Range;

use contracts::Term;

/// What limits an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most changes.
    pub changes_max: usize,
    /// Most bytes of changes; a larger single change travels alone.
    pub bytes_max: usize,
}

impl Limits {
    /// What one message of the broker carries: always far below its 4 MiB.
    pub const ENVELOPE: Self = Self { changes_max: 100, bytes_max: 64 * 1024 };
}

/// What matters of a change for the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The term of its number.
    pub term: Term,
    /// Its size on the wire.
    pub bytes: usize,
}

/// Cuts consecutive changes into envelopes: in order, none left out, each of one term and within
/// the limits unless it is a single change.
pub fn cut(rows: &[Row], limits: Limits) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut start = 0;
    let mut bytes = 0_usize;
    let mut term = None;
    for (at, row) in rows.iter().enumerate() {
        let fits = at - start < limits.changes_max
            && bytes.saturating_add(row.bytes) <= limits.bytes_max
            && term == Some(row.term);
        if at > start && !fits {
            cuts.push(start..at);
            start = at;
            bytes = 0;
        }
        bytes = bytes.saturating_add(row.bytes);
        term = Some(row.term);
    }
    if start < rows.len() {
        cuts.push(start..rows.len());
    }
    cuts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn term(n: u8) -> Term {
        Term::new(format!("00000000-0000-4000-8000-0000000000{n:02x}").parse().unwrap())
    }

    fn rows(sizes: &[(u8, usize)]) -> Vec<Row> {
        sizes.iter().map(|(n, bytes)| Row { term: term(*n), bytes: *bytes }).collect()
    }

    const SMALL: Limits = Limits { changes_max: 3, bytes_max: 100 };

    #[test]
    fn count_bytes_and_term_each_end_an_envelope() {
        assert_eq!(cut(&rows(&[(1, 1); 7]), SMALL), [0..3, 3..6, 6..7]);
        assert_eq!(cut(&rows(&[(1, 60), (1, 40), (1, 1)]), SMALL), [0..2, 2..3]);
        assert_eq!(cut(&rows(&[(1, 1), (2, 1), (2, 1)]), SMALL), [0..1, 1..3]);
        assert!(cut(&[], SMALL).is_empty());
    }

    #[test]
    fn a_change_above_the_limit_travels_alone() {
        assert_eq!(cut(&rows(&[(1, 1), (1, 900), (1, 1)]), SMALL), [0..1, 1..2, 2..3]);
        assert_eq!(cut(&rows(&[(1, 900)]), SMALL), [0..1; 1]);
    }

    proptest! {
        #[test]
        fn nothing_is_left_out_and_no_limit_broken(
            sizes in prop::collection::vec((0..3u8, 0..140usize), 0..40)
        ) {
            let rows = rows(&sizes);
            let cuts = cut(&rows, SMALL);
            let joined: Vec<usize> = cuts.iter().cloned().flatten().collect();
            prop_assert_eq!(joined, (0..rows.len()).collect::<Vec<_>>());
            for range in cuts {
                let part = &rows[range];
                let bytes: usize = part.iter().map(|row| row.bytes).sum();
                prop_assert!(part.len() == 1 || bytes <= SMALL.bytes_max);
                prop_assert!(part.len() <= SMALL.changes_max);
                prop_assert!(part.iter().all(|row| row.term == part[0].term));
            }
        }
    }
}
