//! A promise of stock until a moment that is set.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::Invalid;

use super::{Level, Quantity, StockKey};

/// The longest that stock may be held for somebody, in seconds: a week.
const SECONDS_MAX: i64 = 7 * 24 * 60 * 60;

/// For how long a reservation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime(i64);

impl Lifetime {
    /// Accepts a second to a week.
    pub(crate) fn parse(seconds: i64) -> Result<Self, Invalid> {
        if (1..=SECONDS_MAX).contains(&seconds) {
            return Ok(Self(seconds));
        }
        let reason = format!("must be a whole number from 1 to {SECONDS_MAX}, not {seconds}");
        Err(Invalid::new("out-of-range", reason))
    }

    /// The moment at which it is over.
    pub(crate) fn from(self, begin: DateTime<Utc>) -> DateTime<Utc> {
        begin + TimeDelta::seconds(self.0)
    }
}

/// What became of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Released,
    Fulfilled,
    Expired,
}

impl State {
    const ALL: [Self; 4] = [Self::Open, Self::Released, Self::Fulfilled, Self::Expired];

    pub(crate) fn parse(raw: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == raw)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Released => "released",
            Self::Fulfilled => "fulfilled",
            Self::Expired => "expired",
        }
    }
}

/// How its holder ends a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// What was reserved is available again.
    Release,
    /// What was reserved is sold.
    Fulfil,
}

impl Ending {
    /// What becomes of the reservation.
    pub(crate) const fn state(self) -> State {
        match self {
            Self::Release => State::Released,
            Self::Fulfil => State::Fulfilled,
        }
    }
}

/// Some stock that is kept for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) stock: StockKey,
    pub(crate) quantity: Quantity,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) state: State,
}

/// The reservation has ended already, in this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended(pub(crate) State);

impl Reservation {
    /// What is in stock after this end, if the reservation still holds at this moment. One whose
    /// time is over has expired, whether or not its stock was taken back yet.
    pub(crate) fn end(
        &self,
        level: Level,
        ending: Ending,
        at: DateTime<Utc>,
    ) -> Result<Level, Ended> {
        match self.state {
            State::Open if at >= self.expires_at => Err(Ended(State::Expired)),
            State::Open => Ok(match ending {
                Ending::Release => level.release(self.quantity),
                Ending::Fulfil => level.fulfil(self.quantity),
            }),
            State::Released | State::Fulfilled | State::Expired => Err(Ended(self.state)),
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::Id;

    use super::*;

    fn reservation(state: State) -> (Reservation, DateTime<Utc>) {
        let begin = DateTime::from_timestamp(1_000, 0).unwrap();
        let id = |raw| Id::parse(raw).unwrap();
        let reservation = Reservation {
            stock: StockKey { sku: id("a"), location: id("b") },
            quantity: Quantity::some(2).unwrap(),
            expires_at: Lifetime::parse(10).unwrap().from(begin),
            state,
        };
        (reservation, begin)
    }

    #[test]
    fn a_reservation_lives_from_a_second_to_a_week() {
        assert!(Lifetime::parse(1).is_ok() && Lifetime::parse(604_800).is_ok());
        for bad in [0, -1, 604_801, i64::MAX, i64::MIN] {
            assert_eq!(Lifetime::parse(bad).unwrap_err().code, "out-of-range", "{bad}");
        }
    }

    #[test]
    fn a_reservation_holds_until_its_moment_and_not_at_it() {
        let ((open, begin), level) = (reservation(State::Open), Level::stored(5, 3));
        let last = begin + TimeDelta::milliseconds(9_999);
        assert_eq!(open.end(level, Ending::Release, last), Ok(Level::stored(5, 1)));
        assert_eq!(open.end(level, Ending::Fulfil, last), Ok(Level::stored(3, 1)));
        for late in [open.expires_at, open.expires_at + TimeDelta::seconds(1)] {
            assert_eq!(open.end(level, Ending::Fulfil, late), Err(Ended(State::Expired)));
        }
    }

    #[test]
    fn what_has_ended_does_not_end_again() {
        for state in [State::Released, State::Fulfilled, State::Expired] {
            let ((ended, begin), level) = (reservation(state), Level::stored(5, 3));
            assert_eq!(ended.end(level, Ending::Release, begin), Err(Ended(state)));
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
    }
}
