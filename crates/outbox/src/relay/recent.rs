//! When the broker was told of the newest changes: a bounded memory that a restart empties.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};

use contracts::{Pn, Stream, Term};

/// Envelopes remembered of each stream.
const ENVELOPES_MAX: usize = 4_096;

/// When the newest envelopes of each stream were handed to the broker, and when it took them.
#[derive(Debug, Default)]
pub(super) struct Recent(BTreeMap<Stream, VecDeque<Sent>>);

/// One envelope on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    first: Pn,
    last: Pn,
    term: Term,
    /// When it was handed over for the first time.
    pub(super) published_at: DateTime<Utc>,
    /// When the broker said that it has it.
    pub(super) confirmed_at: Option<DateTime<Utc>>,
}

impl Recent {
    /// These numbers are handed over now; a repeat keeps the time of the first try.
    pub(super) fn sending(
        &mut self,
        stream: &Stream,
        (first, last): (Pn, Pn),
        term: Term,
        now: DateTime<Utc>,
    ) {
        if !self.0.contains_key(stream) {
            self.0.insert(stream.clone(), VecDeque::new());
        }
        let Some(sent) = self.0.get_mut(stream) else { return };
        let is_repeat = |it: &Sent| (it.first, it.last, it.term) == (first, last, term);
        if sent.back().is_some_and(is_repeat) {
            return;
        }
        if sent.len() == ENVELOPES_MAX {
            sent.pop_front();
        }
        sent.push_back(Sent { first, last, term, published_at: now, confirmed_at: None });
    }

    /// The broker has what was handed over last.
    pub(super) fn confirmed(&mut self, stream: &Stream, now: DateTime<Utc>) {
        if let Some(sent) = self.0.get_mut(stream).and_then(VecDeque::back_mut) {
            sent.confirmed_at.get_or_insert(now);
        }
    }

    /// What is known of a number; the first time counts where a takeover published it again.
    pub(super) fn of(&self, stream: &Stream, pn: Pn, term: Term) -> Option<Sent> {
        let sent = self.0.get(stream)?;
        sent.iter().find(|it| it.term == term && (it.first..=it.last).contains(&pn)).copied()
    }
}

#[cfg(test)]
mod tests {
    use contracts::{Lane, Topic};
    use uuid::Uuid;

    use super::*;

    fn stream() -> Stream {
        Stream::new(&Topic::parse("shop.items").unwrap(), Lane::Normal)
    }

    fn pn(number: i64) -> Pn {
        Pn::try_from(number).unwrap()
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn a_repeat_keeps_the_time_of_the_first_try_and_the_first_answer() {
        let (mut recent, term) = (Recent::default(), Term::new(Uuid::nil()));
        recent.sending(&stream(), (pn(1), pn(3)), term, at(1));
        assert_eq!(recent.of(&stream(), pn(2), term).unwrap().confirmed_at, None);
        recent.sending(&stream(), (pn(1), pn(3)), term, at(2));
        recent.confirmed(&stream(), at(3));
        recent.confirmed(&stream(), at(4));
        let sent = recent.of(&stream(), pn(3), term).unwrap();
        assert_eq!((sent.published_at, sent.confirmed_at), (at(1), Some(at(3))));
        assert_eq!(recent.of(&stream(), pn(4), term), None);
        assert_eq!(recent.of(&stream(), pn(3), Term::new(Uuid::max())), None);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let (mut recent, term) = (Recent::default(), Term::new(Uuid::nil()));
        for number in 1..=i64::try_from(ENVELOPES_MAX).unwrap() + 1 {
            recent.sending(&stream(), (pn(number), pn(number)), term, at(number));
        }
        assert_eq!(recent.of(&stream(), pn(1), term), None);
        assert!(recent.of(&stream(), pn(2), term).is_some());
    }
}
