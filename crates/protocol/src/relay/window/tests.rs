//! One envelope in flight, and nothing skipped.

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
    let mut window = Window::new(pn(7));
    assert_eq!(window.step(ms(0), pn(7), Answer::Passed), Step::Wait(None));
    assert_eq!(window.step(ms(0), pn(9), Answer::Passed), Step::Publish { after: pn(7) });
    assert_eq!(window.step(ms(1), pn(12), Answer::Passed), Step::Wait(None));
    let next = window.step(ms(2), pn(12), Answer::Accepted(pn(9)));
    assert_eq!(next, Step::Publish { after: pn(9) });
    // An envelope may reach beyond the head that was known when it was asked for.
    let next = window.step(ms(3), pn(12), Answer::Accepted(pn(13)));
    assert_eq!(next, Step::Wait(None));
    assert_eq!(window.step(ms(4), pn(14), Answer::Passed), Step::Publish { after: pn(13) });
}

#[test]
fn an_unknown_outcome_is_repeated_after_a_wait() {
    let mut window = Window::new(pn(0));
    assert_eq!(window.step(ms(0), pn(1), Answer::Passed), Step::Publish { after: pn(0) });
    let waits = window.step(ms(10), pn(1), Answer::Unknown { random: 1 << 63 });
    assert_eq!(waits, Step::Wait(Some(ms(60))));
    assert_eq!(window.step(ms(59), pn(1), Answer::Passed), Step::Wait(Some(ms(60))));
    assert_eq!(window.step(ms(60), pn(1), Answer::Passed), Step::Publish { after: pn(0) });
}

proptest! {
    /// Covers: F13.
    #[test]
    fn everything_is_published_in_order_with_one_in_flight(
        answers in prop::collection::vec((0..4u8, any::<u8>(), 0..700u64), 1..300)
    ) {
        let mut window = Window::new(Pn::ZERO);
        let (mut now, mut head, mut accepted) = (ms(0), 0, 0);
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
            let step = window.step(now, pn(head), answer);
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
            }
        }
    }
}
