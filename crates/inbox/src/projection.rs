//! What a consumer writes itself: how its copy takes changes, and how its index notices them.

use std::future::{Future, ready};
use std::time::Duration;

use contracts::{Key, Pn, Stream, Version};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use crate::{Error, Transaction};

/// So many keys are a batch that is worth its round.
const FULL: usize = 100;
/// How long a sink rests at most between two rounds: the freshness of a cache hangs on it.
const REST_MAX: Duration = Duration::from_millis(10);

/// The code that writes a copy of one topic.
pub trait Projection: Send + Sync + 'static {
    /// The topic that is copied.
    const TOPIC: &'static str;
    /// An entity, with only the fields that the copy needs.
    type Entity: DeserializeOwned + Send + Sync;

    /// Writes changes, at most one per key and the newest of it, in key order; no entity means
    /// deleted.
    ///
    /// They have won against whatever was stored; nothing else needs to be compared. Nothing but
    /// this transaction may be touched, since it may be rolled back and tried again. A prepared
    /// statement keeps the plan that it gets first, which is made for no particular values and
    /// prefers indexes: what finds rows should find them by one.
    fn apply(
        &self,
        tx: &Transaction<'_>,
        changes: &[Change<Self::Entity>],
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The keys of sinks that these changes made out of date; called after `apply`, in the same
    /// transaction. Changes of which a case was opened or closed come too, without their entity.
    fn dirty(
        &self,
        tx: &Transaction<'_>,
        changes: &[Change<Self::Entity>],
    ) -> impl Future<Output = Result<Vec<Dirty>, Error>> + Send {
        let _ = (tx, changes);
        ready(Ok(Vec::new()))
    }

    /// Refuses an entity in words; the change becomes an `invalid` case, and the rest goes on.
    fn validate(&self, entity: &Self::Entity) -> Result<(), String> {
        let _ = entity;
        Ok(())
    }
}

/// The newest state of one entity, as a projection sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<E> {
    /// The entity.
    pub key: Key,
    /// Its version; 0 for an entity that the source does not know.
    pub version: Version,
    /// Its state; `None` when it is deleted.
    pub entity: Option<E>,
    /// Its number; `None` when it came by a snapshot.
    pub place: Option<Place>,
}

impl<E> Change<E> {
    /// Says that this change made `key` of a sink out of date.
    pub fn marks(&self, sink: &'static str, key: impl Into<String>) -> Dirty {
        Dirty { sink, key: key.into(), place: self.place.clone() }
    }
}

/// Where in a stream a change stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The stream.
    pub stream: Stream,
    /// The number.
    pub pn: Pn,
}

/// A key that a sink has yet to notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirty {
    /// The name of the sink.
    pub sink: &'static str,
    /// The key, in the sink's own terms.
    pub key: String,
    /// The change that made it dirty, where it has a number.
    pub place: Option<Place>,
}

/// What is brought up to date after the commit: an index, a cache.
pub trait Sink: Send + Sync + 'static {
    /// The name that [`Dirty::sink`] gives it.
    const NAME: &'static str;

    /// Brings these keys up to date; called again with them until it worked, and whenever they
    /// change. What it reads, it must read after it was called.
    ///
    /// Answers the keys to clean in their place, marked when these are forgotten: how a key that
    /// stands for many is worked off in bounded steps, which a crash does not undo.
    fn clean(&self, keys: &[String]) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// Rests after a round that cleaned so many keys and took so long, so that the next one takes
    /// what has come meanwhile. After a small one twice as long, but at most 10 ms, unless a sink
    /// knows better.
    fn rest(&self, count: usize, took: Duration) -> impl Future<Output = ()> + Send {
        let rest = if count < FULL { (took * 2).min(REST_MAX) } else { Duration::ZERO };
        sleep(rest)
    }

    /// No other process cleans from now on; called before the first batch, and again when that
    /// had ended and is so once more.
    fn begin(&self) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Another process may clean from now on: what was cleaned here is no longer kept up to date.
    /// Not called at an ordinary stop.
    fn end(&self) {}
}
