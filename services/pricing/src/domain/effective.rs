//! What a product costs at a moment, and until when.

use std::collections::BTreeSet;

use contracts::Id;

use super::{Amount, Offer, Time};

/// What a product costs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effective {
    /// The list price, or what the best promotion leaves of it.
    pub(crate) amount: Amount,
    /// That promotion.
    pub(crate) promotion: Option<Id>,
    /// The next moment at which one of the two changes by itself.
    pub(crate) until: Option<Time>,
}

/// What holds now: of the promotions that run, the one that leaves the least; of several that leave
/// the same, the one whose id comes first.
///
/// Sweeps over the starts and ends that lie ahead, and stops at the first after which something
/// else holds: most change nothing, since a better promotion runs meanwhile.
pub(crate) fn effective(list: Amount, offers: &[Offer], now: Time) -> Effective {
    let mut running: BTreeSet<(Amount, &Id)> = BTreeSet::new();
    let mut ahead = Vec::new();
    for offer in offers {
        let bid = (list.less(offer.percent_off), &offer.promotion);
        for period in offer.periods.iter().filter(|period| now < period.ends_at()) {
            ahead.push((period.ends_at(), Turn::Ends, bid));
            if period.starts_at() <= now {
                running.insert(bid);
            } else {
                ahead.push((period.starts_at(), Turn::Starts, bid));
            }
        }
    }
    ahead.sort_unstable();
    let held = running.first().copied();
    let mut until = None;
    // What ends and starts at one moment takes effect as one, and an end counts before a start, so
    // that periods of one promotion that touch leave it running.
    for same in ahead.chunk_by(|(one, ..), (other, ..)| one == other) {
        for (_, turn, bid) in same {
            match turn {
                Turn::Ends => running.remove(bid),
                Turn::Starts => running.insert(*bid),
            };
        }
        if running.first().copied() != held {
            until = same.first().map(|(at, ..)| *at);
            break;
        }
    }
    Effective {
        amount: held.map_or(list, |(amount, _)| amount),
        promotion: held.map(|(_, promotion)| promotion.clone()),
        until,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Ends,
    Starts,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Currency, Percent, Period};

    fn at(second: i64) -> Time {
        Time::from_timestamp(second, 0).unwrap()
    }

    fn amount(raw: &str) -> Amount {
        Amount::parse(raw, Currency::parse("USD").unwrap()).unwrap()
    }

    fn offer(promotion: &str, off: &str, periods: &[(i64, i64)]) -> Offer {
        Offer {
            promotion: Id::parse(promotion).unwrap(),
            percent_off: Percent::parse(off).unwrap(),
            periods: periods.iter().map(|(s, e)| Period::new(at(*s), at(*e)).unwrap()).collect(),
        }
    }

    /// The amount, the promotion and the second until which they hold.
    fn held(list: &str, offers: &[Offer], now: i64) -> (String, Option<String>, Option<i64>) {
        let Effective { amount, promotion, until } = effective(amount(list), offers, at(now));
        let promotion = promotion.map(|id| id.as_str().to_owned());
        (amount.to_string(), promotion, until.map(|time| time.timestamp()))
    }

    fn is(
        amount: &str,
        promotion: &str,
        until: Option<i64>,
    ) -> (String, Option<String>, Option<i64>) {
        let promotion = (!promotion.is_empty()).then(|| promotion.to_owned());
        (amount.to_owned(), promotion, until)
    }

    #[test]
    fn a_promotion_holds_from_its_start_up_to_its_end() {
        let offers = [offer("summer", "20", &[(10, 20)])];
        assert_eq!(held("59.00", &[], 5), is("59.00", "", None));
        assert_eq!(held("59.00", &offers, 9), is("59.00", "", Some(10)));
        assert_eq!(held("59.00", &offers, 10), is("47.20", "summer", Some(20)));
        assert_eq!(held("59.00", &offers, 19), is("47.20", "summer", Some(20)));
        assert_eq!(held("59.00", &offers, 20), is("59.00", "", None));
    }

    #[test]
    fn the_lowest_wins_and_a_boundary_that_changes_nothing_is_skipped() {
        let offers = [offer("big", "50", &[(10, 40)]), offer("small", "10", &[(20, 30), (35, 60)])];
        assert_eq!(held("10.00", &offers, 10), is("5.00", "big", Some(40)));
        assert_eq!(held("10.00", &offers, 25), is("5.00", "big", Some(40)));
        assert_eq!(held("10.00", &offers, 40), is("9.00", "small", Some(60)));
    }

    #[test]
    fn of_two_that_leave_the_same_the_first_id_wins() {
        let offers = [offer("b", "20", &[(0, 30)]), offer("a", "20", &[(10, 20)])];
        assert_eq!(held("10.00", &offers, 5), is("8.00", "b", Some(10)));
        assert_eq!(held("10.00", &offers, 15), is("8.00", "a", Some(20)));
        // Different percentages of a cent are the same cent.
        let offers = [offer("b", "60", &[(0, 30)]), offer("a", "70", &[(0, 30)])];
        assert_eq!(held("0.01", &offers, 5), is("0.00", "a", Some(30)));
    }

    #[test]
    fn periods_that_touch_are_one() {
        let offers = [offer("a", "20", &[(0, 10), (10, 20)])];
        assert_eq!(held("10.00", &offers, 5), is("8.00", "a", Some(20)));
        let offers = [offer("a", "20", &[(0, 10)]), offer("b", "20", &[(10, 20)])];
        assert_eq!(held("10.00", &offers, 5), is("8.00", "a", Some(10)));
    }

    /// The same by looking at every promotion at one moment.
    fn looked_up(list: Amount, offers: &[Offer], now: Time) -> (Amount, Option<Id>) {
        let runs = |offer: &&Offer| {
            offer.periods.iter().any(|p| p.starts_at() <= now && now < p.ends_at())
        };
        let best = offers
            .iter()
            .filter(runs)
            .min_by_key(|offer| (list.less(offer.percent_off), offer.promotion.clone()));
        best.map_or((list, None), |offer| {
            (list.less(offer.percent_off), Some(offer.promotion.clone()))
        })
    }

    fn offers() -> impl Strategy<Value = Vec<Offer>> {
        let periods = prop::collection::vec((1_i64..6, 1_i64..6), 1..4).prop_map(|steps| {
            let mut end = 0;
            let mut periods = Vec::new();
            for (pause, length) in steps {
                let start = end + pause - 1;
                end = start + length;
                periods.push((start, end));
            }
            periods
        });
        // Few percentages, so that ties are frequent.
        let terms =
            prop::collection::vec((prop::sample::select(vec!["10", "10.4", "30"]), periods), 0..5);
        terms.prop_map(|terms| {
            let named = terms.iter().zip(["d", "b", "a", "c"]);
            named.map(|((off, periods), id)| offer(id, off, periods)).collect()
        })
    }

    proptest! {
        #[test]
        fn until_is_the_first_moment_at_which_something_else_holds(
            offers in offers(), now in -1_i64..30, minor in 0_i64..40,
        ) {
            let list = amount(&format!("0.{minor:02}"));
            let seen = effective(list, &offers, at(now));
            let holds = (seen.amount, seen.promotion);
            prop_assert_eq!(&holds, &looked_up(list, &offers, at(now)));
            let change = (now + 1..60).find(|s| looked_up(list, &offers, at(*s)) != holds);
            prop_assert_eq!(seen.until, change.map(at));
        }
    }
}
