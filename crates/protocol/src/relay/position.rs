//! How a consumer's position relates to what the source holds.

use contracts::calls::PositionState;
use contracts::{Pn, Term};

/// What the source holds of a stream, and of one number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The newest number.
    pub head: Pn,
    /// The numbers above this one are held.
    pub floor: Pn,
    /// The term of the number at the floor.
    pub floor_term: Term,
    /// The term of the number asked about, if a segment holds it.
    pub term: Option<Term>,
}

/// Compares a position with the source (log matching); `held` is `None` for an unknown stream.
///
/// Without the term a source that was restored reuses numbers, and its consumers would take the
/// new changes for duplicates.
pub fn relate(pn: Pn, term: Term, root: Term, held: Option<Held>) -> PositionState {
    let same = |yes: bool| if yes { PositionState::Ok } else { PositionState::Diverged };
    if pn == Pn::ZERO && term != root {
        return PositionState::Diverged;
    }
    match held {
        None => same(pn == Pn::ZERO),
        Some(held) if pn < held.floor => PositionState::BehindFloor,
        Some(held) if pn == held.floor => same(term == held.floor_term),
        Some(held) => same(pn <= held.head && held.term == Some(term)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(n: u8) -> Term {
        Term::new(format!("00000000-0000-4000-8000-0000000000{n:02x}").parse().unwrap())
    }

    fn pn(n: i64) -> Pn {
        Pn::try_from(n).unwrap()
    }

    const OK: PositionState = PositionState::Ok;
    const BEHIND: PositionState = PositionState::BehindFloor;
    const DIVERGED: PositionState = PositionState::Diverged;

    /// A stream at floor 10 (term 1) and head 20, where every held number is of term 2.
    fn stream() -> Held {
        Held { head: pn(20), floor: pn(10), floor_term: term(1), term: Some(term(2)) }
    }

    #[test]
    fn a_position_must_be_held_with_its_term() {
        let root = term(0);
        for (at, its, expected) in [
            (15, 2, OK),
            (20, 2, OK),
            (20, 3, DIVERGED),
            (15, 1, DIVERGED),
            (10, 1, OK),
            (10, 2, DIVERGED),
            (9, 1, BEHIND),
            (0, 0, BEHIND),
            (0, 1, DIVERGED),
        ] {
            assert_eq!(relate(pn(at), term(its), root, Some(stream())), expected, "{at} {its}");
        }
    }

    #[test]
    fn numbers_above_the_head_have_diverged() {
        let beyond = Held { term: None, ..stream() };
        assert_eq!(relate(pn(21), term(2), term(0), Some(beyond)), DIVERGED);
    }

    #[test]
    fn a_stream_unknown_to_the_source_has_diverged_unless_untouched() {
        assert_eq!(relate(pn(0), term(0), term(0), None), OK);
        assert_eq!(relate(pn(0), term(1), term(0), None), DIVERGED);
        assert_eq!(relate(pn(1), term(0), term(0), None), DIVERGED);
    }
}
