//! The composed view of a product: looked up in the cache, read from the owners where that does not
//! do, and never called fresh unless that is known.
//!
//! An answer is fresh when everything that was committed more than a second ago is known to show in
//! it: because all three sources were clean since then, or because it was read from the owners
//! since then. Whoever finds no such answer asks the owners, once for all who wait for the same;
//! the part of an owner that does not answer comes from the last known copy, flagged.

mod answer;
mod parts;
mod shelf;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cache::Flights;
use contracts::Id;
use deadpool_postgres::Pool;
use futures::future::{join, join_all};
use http::{StatusCode, Uri};
use inbox::Record;
use protocol::fresh::{Freshness, freshness};
use service_kit::{Problem, chain};
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) use self::answer::{ViewBody, answer};
pub(crate) use self::parts::name_of;
pub(crate) use self::shelf::Shelf;

use self::parts::{KINDS, Kind, Part, Parts};
use self::shelf::{Found, Kept};
use crate::Owners;
use crate::hop::{self, Failure, Question};
use crate::namespace::Standing;
use crate::owners::Owner;

/// So far may an answer that is called fresh lie behind its owners.
const BOUND: Duration = Duration::from_secs(1);
/// What is found this much before the bound is read anew, so that it is still fresh when it is
/// answered.
const MARGIN: Duration = Duration::from_millis(100);
/// So long the database may take to say which records are set aside.
const CASES_WAIT: Duration = Duration::from_millis(300);

/// Answers views; clones share what is under way.
#[derive(Debug, Clone)]
pub(crate) struct Views(Arc<Desk>);

#[derive(Debug)]
struct Desk {
    owners: Owners,
    shelf: Shelf,
    pool: Pool,
    standing: watch::Receiver<Option<Standing>>,
    part_max: Duration,
    flights: Flights<Result<View, Missing>>,
    began: Instant,
}

/// A view, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) parts: Arc<Parts>,
    /// Everything shows in it that was committed so long before it was seen.
    age: Duration,
    seen: Instant,
    /// Of each part that comes from the cache although it should have been read, why.
    old: [Option<String>; KINDS.len()],
    /// What such a part was there.
    copy: Copy,
    pub(crate) status: Status,
    pub(crate) reader: Reader,
}

/// What the cache says of a copy that it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    /// No change of it is known: it is fresh as long as that is.
    Current,
    /// Only that it was so once.
    Old,
}

/// Who read an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Whoever is answered.
    Own,
    /// Somebody who had asked for the same a moment before.
    Another,
}

/// What the cache had to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The answer lay there.
    Hit,
    /// Nothing lay there.
    Miss(Fill),
    /// What lay there is not current, or not known to be.
    Stale(Fill),
    /// It was not to be had.
    Bypass,
}

/// Whether an answer that was read from the owners lies in the cache now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    Stored,
    NotStored,
}

/// A part that the cache has not, and whose owner does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    kind: Kind,
    reason: String,
}

impl View {
    /// For how long it may lack what was committed.
    pub(crate) fn age(&self) -> Duration {
        self.age + self.seen.elapsed()
    }

    /// Why a part may not be what its owner has, if it may not.
    pub(crate) fn reason(&self, kind: Kind) -> Option<String> {
        let is_fresh = self.copy == Copy::Current && self.age() <= BOUND;
        let reasons = KINDS.into_iter().zip(&self.old).filter(|_| !is_fresh);
        let old = reasons.filter(|(of, _)| *of == kind).find_map(|(_, reason)| reason.clone());
        old.or_else(|| self.parts.get(kind).is_behind.then(|| kind.set_aside()))
    }

    /// Whether an owner that was asked did not answer.
    pub(crate) fn has_old(&self) -> bool {
        self.old.iter().any(Option::is_some)
    }

    /// Why it is not fresh, if it is not.
    pub(crate) fn complaint(&self) -> Option<String> {
        let mut reasons: Vec<_> = KINDS.into_iter().filter_map(|kind| self.reason(kind)).collect();
        if reasons.is_empty() && self.age() > BOUND {
            reasons.push("reading it from its owners took longer than a second".to_owned());
        }
        if reasons.is_empty() { None } else { Some(reasons.join("; ")) }
    }
}

impl Missing {
    fn problem(&self, sku: &Id) -> Problem {
        let Self { kind, reason } = self;
        let title = "A part of the view is away";
        let detail = format!("the {kind} of {sku} is not known here, and {reason}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "part-away", title).detail(detail)
    }
}

impl Views {
    pub(crate) fn new(
        owners: &Owners,
        shelf: Shelf,
        pool: Pool,
        standing: watch::Receiver<Option<Standing>>,
        part_max: Duration,
    ) -> Self {
        let (owners, flights, began) = (owners.clone(), Flights::default(), Instant::now());
        Self(Arc::new(Desk { owners, shelf, pool, standing, part_max, flights, began }))
    }

    /// The view of one product.
    pub(crate) async fn get(&self, sku: &Id) -> Result<View, Problem> {
        let standing = self.0.standing();
        if let Found::Hit(kept) = self.0.look(standing, sku).await
            && let Some(view) = self.0.fresh(standing, &kept)
        {
            return Ok(view);
        }
        let leads = AtomicBool::new(false);
        let read = || {
            leads.store(true, Ordering::Relaxed);
            self.0.read(sku)
        };
        let landed = self.0.flights.join(&Shelf::key("", sku), read).await;
        let mut view = landed.map_err(|missing| missing.problem(sku))?;
        if view.parts.is_unknown() {
            return Err(Problem::not_found(format!("nothing is known of a product {sku}")));
        }
        if !leads.into_inner() {
            view.reader = Reader::Another;
        }
        Ok(view)
    }
}

impl Desk {
    /// What is known before a look: what is learned later says nothing of what was found earlier.
    fn standing(&self) -> Option<Standing> {
        *self.standing.borrow()
    }

    async fn look(&self, standing: Option<Standing>, sku: &Id) -> Found {
        match standing {
            Some(standing) => self.shelf.look(standing.id, sku).await,
            None => Found::Nothing,
        }
    }

    /// What was kept, as a view, if it is fresh.
    fn fresh(&self, standing: Option<Standing>, kept: &Kept) -> Option<View> {
        let age = self.age(standing, kept);
        (age <= BOUND.saturating_sub(MARGIN)).then(|| View {
            parts: Arc::clone(&kept.parts),
            age,
            seen: Instant::now(),
            old: Default::default(),
            copy: Copy::Current,
            status: Status::Hit,
            reader: Reader::Own,
        })
    }

    /// A current value shows everything from before the oldest of the clean moments, and in any
    /// case everything from before it was read.
    fn age(&self, standing: Option<Standing>, kept: &Kept) -> Duration {
        let clean_at = standing.map(|standing| standing.clean_at).unwrap_or_default();
        let clean_at = clean_at.map(|at| Some(at?.saturating_duration_since(self.began)));
        match freshness(self.began.elapsed(), clean_at, BOUND) {
            Freshness::Fresh { age } | Freshness::Stale { age: Some(age) } => age.min(kept.age),
            Freshness::Stale { age: None } => kept.age,
        }
    }

    /// Looks once more, and reads from the owners what the cache does not know to be fresh.
    async fn read(&self, sku: &Id) -> Result<View, Missing> {
        let standing = self.standing();
        let (kept, lease, copy) = match self.look(standing, sku).await {
            Found::Hit(kept) => match self.fresh(standing, &kept) {
                Some(view) => return Ok(view),
                None => (Some(kept), None, Copy::Current),
            },
            Found::Miss(lease, old) => (old, Some(lease), Copy::Old),
            Found::Nothing => (None, None, Copy::Old),
        };
        let seen = Instant::now();
        let (read, set_aside) =
            join(self.ask_all(sku, kept.as_ref().map(|_| self.part_max)), self.set_aside(sku))
                .await;
        let (mut parts, mut old) = (Parts::default(), <[Option<String>; KINDS.len()]>::default());
        for ((kind, read), old) in KINDS.into_iter().zip(read).zip(&mut old) {
            let part = match (read, &kept) {
                (Ok(mut part), _) => {
                    part.is_behind = set_aside.as_ref().is_some_and(|all| all.contains(&kind));
                    part
                }
                (Err(reason), Some(kept)) => {
                    *old = Some(reason);
                    kept.parts.get(kind).clone()
                }
                (Err(reason), None) => return Err(Missing { kind, reason }),
            };
            parts.set(kind, part);
        }
        let is_read = old.iter().all(Option::is_none);
        let age = match &kept {
            Some(kept) if !is_read && copy == Copy::Current => self.age(standing, kept),
            Some(kept) if !is_read => kept.age,
            Some(_) | None => Duration::ZERO,
        };
        let status = match (&kept, &lease) {
            (Some(_), _) => Status::Stale,
            (None, Some(_)) => Status::Miss,
            (None, None) => |_| Status::Bypass,
        };
        let mut fill = Fill::NotStored;
        // What the database could not tell of is not kept, nor what nobody has.
        if let Some(lease) = lease.filter(|_| is_read && set_aside.is_some())
            && !parts.is_unknown()
        {
            fill = self.shelf.fill(&lease, &parts).await;
        }
        let (parts, status, reader) = (Arc::new(parts), status(fill), Reader::Own);
        Ok(View { parts, age, seen, old, copy, status, reader })
    }

    /// Asks all owners at the same time; less patiently where a copy is at hand.
    async fn ask_all(&self, sku: &Id, patience: Option<Duration>) -> Vec<Result<Part, String>> {
        let asked = KINDS.into_iter().map(|kind| async move {
            let owner = match kind {
                Kind::Product => &self.owners.catalog,
                Kind::Price => &self.owners.pricing,
                Kind::Stock => &self.owners.warehouse,
            };
            let answer_max = owner.answer_max.min(patience.unwrap_or(owner.answer_max));
            let owner = owner.within(answer_max);
            ask(&owner, kind, sku).await.map_err(|failure| failure.reason(&owner))
        });
        join_all(asked).await
    }

    /// The parts of which a change is set aside; none where the database does not tell in time.
    async fn set_aside(&self, sku: &Id) -> Option<Vec<Kind>> {
        let records = KINDS
            .map(|kind| Record { topic: kind.topic().to_owned(), key: sku.as_str().to_owned() });
        match timeout(CASES_WAIT, inbox::set_aside(&self.pool, &records)).await {
            Ok(Ok(records)) => {
                let is_in = |kind: &Kind| records.iter().any(|record| record.topic == kind.topic());
                Some(KINDS.into_iter().filter(is_in).collect())
            }
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "a view is not kept: its cases are unknown");
                None
            }
            Err(_) => None,
        }
    }
}

/// Reads one part from its owner.
async fn ask(owner: &Owner, kind: Kind, sku: &Id) -> Result<Part, Failure> {
    let path = format!("/api/v1/{}/{}", kind.collection(), sku.as_str());
    let uri = Uri::try_from(path).map_err(|_| Failure::Unusable("cannot be asked for"))?;
    let answer = hop::fetch(owner, Question::get(uri)).await?;
    match answer.status {
        StatusCode::OK => Part::read(kind, &answer),
        StatusCode::NOT_FOUND => Ok(Part::default()),
        _ => Err(Failure::Unusable("is a refusal")),
    }
}
