//! Two relays and one tick row: whoever seals held the term at that very moment.

use proptest::prelude::*;

use super::*;

fn term(n: u32) -> Term {
    Term::new(format!("00000000-0000-4000-8000-{n:012x}").parse().unwrap())
}

fn leading() -> Lease {
    Lease::Leading { n: 4, s1: "10:10:".to_owned(), term: term(1) }
}

fn seal() -> Seal {
    Seal { found: 3, sealed: Some((5, "12:12:".to_owned())), standing: Standing::Mine }
}

#[test]
fn a_seal_moves_the_lease_on() {
    let mut lease = leading();
    assert_eq!(lease.step(Input::Ticked(seal())), Output::Sealed(3));
    assert_eq!(lease, Lease::Leading { n: 5, s1: "12:12:".to_owned(), term: term(1) });
}

#[test]
fn an_idle_tick_changes_nothing() {
    let mut lease = leading();
    let idle = Seal { found: 0, sealed: None, ..seal() };
    assert_eq!(lease.step(Input::Ticked(idle)), Output::Idle);
    assert_eq!(lease, leading());
}

#[test]
fn a_lost_lease_is_noticed_with_and_without_changes() {
    for lost in [
        Seal { sealed: None, ..seal() },
        Seal { found: 0, sealed: None, standing: Standing::Lost },
        Seal { sealed: None, standing: Standing::Lost, ..seal() },
    ] {
        let mut lease = leading();
        assert_eq!(lease.step(Input::Ticked(lost)), Output::Disconnect);
        assert_eq!(lease, Lease::Fenced);
        assert_eq!(lease.step(Input::Disconnected), Output::TryLock);
    }
}

#[test]
fn a_standby_server_and_ids_that_went_back_are_refused() {
    let standby = Seal { sealed: None, standing: Standing::NotPrimary, ..seal() };
    assert_eq!(leading().step(Input::Ticked(standby)), Output::Refuse(Refusal::NotPrimary));
    let back = Seal { sealed: None, standing: Standing::WentBack, ..seal() };
    assert_eq!(leading().step(Input::Ticked(back)), Output::Refuse(Refusal::WentBack));
}

/// The tick row and the rule of the seal statement.
#[derive(Debug, Clone)]
struct TickRow {
    n: i64,
    term: Term,
}

proptest! {
    #[test]
    fn no_number_is_sealed_twice_whatever_the_order(
        moves in prop::collection::vec((0..2usize, 0..4u8), 1..200)
    ) {
        let mut row = TickRow { n: 0, term: term(0) };
        let mut relays = [Lease::Standby, Lease::Standby];
        let mut terms = 0;
        let mut sealed = Vec::new();
        for (who, what) in moves {
            let lease = &mut relays[who];
            match (what, lease.clone()) {
                (0, _) => { lease.step(Input::Disconnected); }
                // The lock is left out: the term alone must do.
                (_, Lease::Standby) => {
                    terms += 1;
                    row.term = term(terms);
                    let s1 = String::new();
                    lease.step(Input::TookOver { n: row.n, s1, term: row.term });
                }
                (_, Lease::Fenced) => { lease.step(Input::Disconnected); }
                (found, Lease::Leading { n, term, .. }) => {
                    let mine = row.n == n && row.term == term;
                    let found = u64::from(found - 1);
                    let seals = mine && found > 0;
                    if seals { row.n += 1; }
                    let answer = Seal {
                        found,
                        sealed: seals.then(|| (row.n, String::new())),
                        standing: if mine { Standing::Mine } else { Standing::Lost },
                    };
                    if let Output::Sealed(_) = lease.step(Input::Ticked(answer)) {
                        sealed.push(row.n);
                    }
                }
            }
        }
        let dense: Vec<i64> = (1..=row.n).collect();
        prop_assert_eq!(sealed, dense);
    }
}
