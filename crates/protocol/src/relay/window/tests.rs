//! One envelope in flight, nothing skipped, and a mark that never runs ahead.

use proptest::prelude::*;

use super::*;

fn pn(n: i64) -> Pn {
    Pn::try_from(n).unwrap()
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn what_is_sealed_is_published_from_the_mark() {
    let mut window = Window::new(pn(7), ms(0));
    assert_eq!(window.step(ms(0), pn(7), Answer::Passed), Step::Wait(None));
    assert_eq!(window.step(ms(0), pn(9), Answer::Passed), Step::Publish { after: pn(7) });
    assert_eq!(window.step(ms(1), pn(12), Answer::Passed), Step::Wait(None));
    let next = window.step(ms(2), pn(12), Answer::Accepted(pn(9)));
    assert_eq!(next, Step::Publish { after: pn(9) });
    let next = window.step(ms(3), pn(12), Answer::Accepted(pn(12)));
    assert_eq!(next, Step::Wait(Some(ms(1000))));
}

#[test]
fn an_unknown_outcome_is_repeated_after_a_wait() {
    let mut window = Window::new(pn(0), ms(0));
    assert_eq!(window.step(ms(0), pn(1), Answer::Passed), Step::Publish { after: pn(0) });
    let waits = window.step(ms(10), pn(1), Answer::Unknown { random: 1 << 63 });
    assert_eq!(waits, Step::Wait(Some(ms(60))));
    assert_eq!(window.step(ms(59), pn(1), Answer::Passed), Step::Wait(Some(ms(60))));
    assert_eq!(window.step(ms(60), pn(1), Answer::Passed), Step::Publish { after: pn(0) });
}

#[test]
fn the_mark_is_saved_lazily() {
    let mut window = Window::new(pn(0), ms(0));
    window.step(ms(0), pn(1), Answer::Passed);
    let next = window.step(ms(1), pn(1), Answer::Accepted(pn(1)));
    assert_eq!(next, Step::Wait(Some(ms(1000))));
    assert_eq!(window.unsaved(), Some(pn(1)));
    assert_eq!(window.step(ms(1000), pn(1), Answer::Passed), Step::Save(pn(1)));
    assert_eq!(window.step(ms(1001), pn(1), Answer::Saved(pn(1))), Step::Wait(None));
    assert_eq!(window.unsaved(), None);
}

proptest! {
    #[test]
    fn everything_is_published_in_order_with_one_in_flight(
        answers in prop::collection::vec((0..4u8, any::<u8>(), 0..700u64), 1..300)
    ) {
        let mut window = Window::new(Pn::ZERO, Duration::ZERO);
        let (mut now, mut head, mut accepted, mut saved) = (ms(0), 0, 0, 0);
        let mut flight = None;
        for (kind, random, passed) in answers {
            now += ms(passed);
            let answer = match (kind, flight) {
                (0, _) => { head += 1 + i64::from(random % 4); Answer::Passed }
                (1, Some(after)) => {
                    flight = None;
                    accepted = head.min(after + 1 + i64::from(random % 3));
                    Answer::Accepted(pn(accepted))
                }
                (2, Some(_)) => {
                    flight = None;
                    Answer::Unknown { random: u64::from(random) << 56 }
                }
                _ => Answer::Passed,
            };
            let mut step = window.step(now, pn(head), answer);
            if let Step::Save(mark) = step {
                prop_assert!(mark.get() <= accepted && mark.get() >= saved);
                saved = mark.get();
                step = window.step(now, pn(head), Answer::Saved(mark));
            }
            match step {
                Step::Publish { after } => {
                    prop_assert!(flight.is_none());
                    prop_assert_eq!(after.get(), accepted);
                    prop_assert!(after.get() < head);
                    flight = Some(after.get());
                }
                Step::Wait(until) => {
                    prop_assert!(flight.is_some() || head == accepted || until.is_some());
                    prop_assert!(until.is_none_or(|until| until > now));
                }
                Step::Save(_) => prop_assert!(false, "saved twice in a row"),
            }
            prop_assert_eq!(window.unsaved().is_some(), accepted > saved);
        }
    }
}
