//! The name of a reservation.

use std::fmt;

use contracts::Invalid;
use uuid::Uuid;

/// A UUID of version 7, so that reservations are numbered roughly in the order of their making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReservationId(Uuid);

impl ReservationId {
    /// A new one.
    pub(crate) fn make() -> Self {
        Self(Uuid::now_v7())
    }

    /// Accepts a UUID in its usual form.
    pub(crate) fn parse(raw: &str) -> Result<Self, Invalid> {
        let usual = |raw: &&str| raw.len() == 36;
        let id = Some(raw).filter(usual).and_then(|raw| Uuid::parse_str(raw).ok());
        id.map(Self).ok_or_else(|| Invalid::new("no-uuid", "must be a UUID, as it was answered"))
    }

    pub(crate) const fn get(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for ReservationId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
