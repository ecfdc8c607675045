//! The composed view of a product: looked up in the cache, read from the owners where that does not
//! do, and never called fresh unless that is known.
//!
//! An answer is fresh when everything that was committed more than a second ago is known to show
//! in it: because all three sources were clean since then, or because this process itself began to
//! read it from the owners since then. Both are counted by the monotonic clock of this process; the
//! clock by which the cache says how old a copy is may be set, and so it is only shown. Whoever
//! finds no such answer asks the owners, once for all who wait for the same; the part of an owner
//! that does not answer comes from the last known copy, flagged.

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
use protocol::fresh::{Freshness, Ground, freshness};
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
pub(crate) const BOUND: Duration = Duration::from_secs(1);
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
    /// What it rests on, by a clock that began then.
    ground: Ground<{ KINDS.len() }>,
    began: Instant,
    /// By the clock of the cache, how old a copy was when it was looked at, and when that was.
    kept: (Duration, Instant),
    /// Of each part that comes from the cache although it should have been read, why.
    old: [Option<String>; KINDS.len()],
    pub(crate) status: Status,
    pub(crate) reader: Reader,
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
    fn freshness(&self) -> Freshness {
        freshness(self.began.elapsed(), &self.ground, BOUND)
    }

    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.freshness(), Freshness::Fresh { .. })
    }

    /// For how long it may lack what was committed; of an old copy, as far as anybody can tell.
    pub(crate) fn age(&self) -> Duration {
        let (kept, looked) = self.kept;
        match self.freshness() {
            Freshness::Fresh { age } | Freshness::Stale { age: Some(age) } => age,
            Freshness::Stale { age: None } => kept + looked.elapsed(),
        }
    }

    /// Why a part may not be what its owner has, if it may not.
    pub(crate) fn reason(&self, kind: Kind) -> Option<String> {
        let is_fresh = self.is_fresh();
        let reasons = KINDS.into_iter().zip(&self.old).filter(|_| !is_fresh);
        let old = reasons.filter(|(of, _)| *of == kind).find_map(|(_, reason)| reason.clone());
        old.or_else(|| self.parts.get(kind).is_behind.then(|| kind.set_aside()))
    }

    /// Whether an owner that was asked did not answer.
    pub(crate) fn has_old(&self) -> bool {
        self.old.iter().any(Option::is_some)
    }

    /// The first owner that did not answer.
    fn unheard(&self) -> Option<Missing> {
        let mut old = KINDS.into_iter().zip(&self.old);
        old.find_map(|(kind, reason)| Some(Missing { kind, reason: reason.clone()? }))
    }

    /// Why it is not fresh, if it is not.
    pub(crate) fn complaint(&self) -> Option<String> {
        let mut reasons: Vec<_> = KINDS.into_iter().filter_map(|kind| self.reason(kind)).collect();
        if reasons.is_empty() && !self.is_fresh() {
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
        if let Found::Hit(kept) = self.0.look(standing.as_ref(), sku).await
            && let Some(view) = self.0.fresh(standing.as_ref(), &kept)
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
            if let Some(missing) = view.unheard() {
                return Err(missing.problem(sku));
            }
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
        self.standing.borrow().clone()
    }

    async fn look(&self, standing: Option<&Standing>, sku: &Id) -> Found {
        match standing {
            Some(standing) => self.shelf.look(standing.id, sku).await,
            None => Found::Nothing,
        }
    }

    /// The last that is known where the present namespace has nothing; never current.
    async fn look_back(&self, standing: Option<&Standing>, sku: &Id) -> Option<Kept> {
        let looks = standing?.past_ids.iter().map(|id| self.shelf.look(*id, sku));
        join_all(looks).await.into_iter().find_map(|found| match found {
            Found::Hit(kept) | Found::Miss(_, Some(kept)) => Some(kept),
            Found::Miss(_, None) | Found::Unreadable | Found::Nothing => None,
        })
    }

    /// What was kept, as a view, if it is fresh.
    fn fresh(&self, standing: Option<&Standing>, kept: &Kept) -> Option<View> {
        let ground = self.found(standing);
        let found = freshness(self.began.elapsed(), &ground, BOUND.saturating_sub(MARGIN));
        matches!(found, Freshness::Fresh { .. }).then(|| View {
            parts: Arc::clone(&kept.parts),
            ground,
            began: self.began,
            kept: (kept.age, Instant::now()),
            old: Default::default(),
            status: Status::Hit,
            reader: Reader::Own,
        })
    }

    /// A current value shows everything from before the oldest of the clean moments.
    fn found(&self, standing: Option<&Standing>) -> Ground<{ KINDS.len() }> {
        let clean_at = standing.map(|standing| standing.clean_at).unwrap_or_default();
        let clean_at = clean_at.map(|at| Some(at?.saturating_duration_since(self.began)));
        Ground::Found { clean_at }
    }

    /// Looks once more, and reads from the owners what the cache does not know to be fresh.
    async fn read(&self, sku: &Id) -> Result<View, Missing> {
        let standing = self.standing();
        let standing = standing.as_ref();
        let (kept, lease, ground) = match self.look(standing, sku).await {
            Found::Hit(kept) => match self.fresh(standing, &kept) {
                Some(view) => return Ok(view),
                None => (Some(kept), None, self.found(standing)),
            },
            Found::Miss(lease, Some(old)) => (Some(old), Some(lease), Ground::Old),
            Found::Miss(lease, None) => {
                (self.look_back(standing, sku).await, Some(lease), Ground::Old)
            }
            Found::Unreadable | Found::Nothing => (None, None, Ground::Old),
        };
        let looked = Instant::now();
        let began = looked.saturating_duration_since(self.began);
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
        let ground = if is_read { Ground::Read { began } } else { ground };
        let kept_for = kept.as_ref().map_or(Duration::ZERO, |kept| kept.age);
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
        let (began, kept) = (self.began, (kept_for, looked));
        Ok(View { parts, ground, began, kept, old, status, reader })
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
