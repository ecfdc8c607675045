//! What one entry of the cache keeps, gives and forgets, so that an old value never counts as new.
//!
//! A reader that finds no current value takes the entry's [`Lease`], *then* reads the parts from
//! their owners, and fills the entry with the lease unchanged. An invalidation kills the lease, and
//! with it every reading that may have begun before the change; it also ends a value whose
//! [`Vector`] lies below it. Lease, value and vector vanish together, in an eviction as in a
//! restart, so nothing is left that could let an old reading in. [`Entry`] is the rule as a
//! machine, the `cache` crate carries it out inside Redis, and [`fresh`](crate::fresh) says what an
//! answer may claim.

use std::collections::BTreeMap;
use std::time::Duration;

pub use contracts::Version;

/// The versions that a value was composed of, one per named part.
///
/// A part that is not in it was absent when the value was composed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vector(BTreeMap<String, Version>);

impl Vector {
    /// Of no part.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The version of one part.
    pub fn get(&self, part: &str) -> Option<Version> {
        self.0.get(part).copied()
    }

    /// Sets the version of one part.
    pub fn set(&mut self, part: impl Into<String>, version: Version) {
        self.0.insert(part.into(), version);
    }

    /// All parts with their versions, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Version)> {
        self.0.iter().map(|(part, version)| (part.as_str(), *version))
    }

    /// Whether a value of these versions already shows what an invalidation of `part` announces;
    /// one without a version announces something that no version tells.
    pub fn shows(&self, part: &str, version: Option<Version>) -> bool {
        version.is_some_and(|version| self.get(part).is_some_and(|held| held >= version))
    }
}

impl<P: Into<String>> FromIterator<(P, Version)> for Vector {
    fn from_iter<I: IntoIterator<Item = (P, Version)>>(parts: I) -> Self {
        Self(parts.into_iter().map(|(part, version)| (part.into(), version)).collect())
    }
}

/// The right to fill an entry, until something of it changes; no two are ever equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease(u128);

impl Lease {
    /// Wraps a number that was drawn at random.
    pub const fn new(random: u128) -> Self {
        Self(random)
    }

    /// The number.
    pub const fn get(self) -> u128 {
        self.0
    }
}

/// A value as it was composed. Times are those of the cache's own clock, since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled<V> {
    /// What was composed.
    pub value: V,
    /// What it was composed of.
    pub vector: Vector,
    /// When the look was that gave the lease: everything was read after it.
    pub read_at: Duration,
    /// When it ceases to be current by itself.
    pub until: Duration,
}

/// One entry. One that was never there and one that is empty are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<V> {
    lease: Option<Lease>,
    filled: Option<Filled<V>>,
    current: bool,
}

/// What a look finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look<V> {
    /// A current value.
    Hit(Filled<V>),
    /// None, and so the lease, which is shared with everyone who looks before it is used or killed;
    /// perhaps also the last known value, which may be shown flagged stale only.
    Miss(Lease, Option<Filled<V>>),
}

/// What became of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// The value is current.
    Stored,
    /// The lease was killed, used or forgotten: the value may be older than a change that is known.
    Refused,
}

impl<V> Default for Entry<V> {
    fn default() -> Self {
        Self { lease: None, filled: None, current: false }
    }
}

impl<V: Clone> Entry<V> {
    /// A reader looks, with a new lease in hand in case there is none.
    ///
    /// A lease that lies there is shared: it says that nothing changed since it was taken, which
    /// holds for a later reader all the more, and readers that took it from each other would keep
    /// each other from ever filling.
    pub fn look(&mut self, now: Duration, new: Lease) -> Look<V> {
        self.current &= self.filled.as_ref().is_some_and(|filled| filled.until > now);
        match &self.filled {
            Some(filled) if self.current => Look::Hit(filled.clone()),
            last => Look::Miss(*self.lease.get_or_insert(new), last.clone()),
        }
    }

    /// A reader brings what it composed. The lease is used up, so that a slower reader with the
    /// same lease cannot put its older value in place of this one.
    pub fn fill(&mut self, lease: Lease, filled: Filled<V>) -> Fill {
        if self.lease != Some(lease) {
            return Fill::Refused;
        }
        *self = Self { lease: None, filled: Some(filled), current: true };
        Fill::Stored
    }

    /// A part changed. The value that shows it stays; any other is kept as the last known alone.
    pub fn invalidate(&mut self, part: &str, version: Option<Version>) {
        self.lease = None;
        self.current &= self.filled.as_ref().is_some_and(|f| f.vector.shows(part, version));
    }

    /// The cache needs the room, or was started anew: everything vanishes together.
    pub fn evict(&mut self) {
        *self = Self::default();
    }

    /// The value that a look would give as current, but for its time.
    pub fn current(&self) -> Option<&Filled<V>> {
        self.filled.as_ref().filter(|_| self.current)
    }
}

#[cfg(test)]
mod tests;
