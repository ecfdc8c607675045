//! What a consumer does with what it hears: apply it, skip it, ask the feed, or load its copy anew.
//!
//! A consumer trusts no delivery. It applies only what [`connect`]s to its [`Position`], lets only
//! newer states through its [`gate`], and asks the source's feed whenever [`is_due`] says that a
//! push may be missing. [`judge`] tells when copy and source no longer have one past, [`Goal`] when
//! it has caught up, [`page`] when a page of a snapshot may be applied, and [`attempt`] how a batch
//! that killed the process is narrowed down to the record at fault.

use std::collections::BTreeMap;

use contracts::calls::{self, PositionState, SyncResponse};
use contracts::{Digest, Header, Key, Pn, Stream, Term, Version};

/// How often one record alone may end with the death of the process before it is set aside.
///
/// A process also dies for reasons of its own, and at rest every batch is one record: a record is
/// blamed only when this cannot be chance.
pub const DEATHS_MAX: u32 = 3;

/// Where a consumer stands in a stream: everything up to this number has its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The last number.
    pub pn: Pn,
    /// The term of that number, which tells one past of the source from another.
    pub term: Term,
}

/// How an envelope relates to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It goes on from the position: apply its changes from this index on.
    From(usize),
    /// Everything in it lies at or below the position.
    Duplicate,
    /// Numbers between the position and its first are missing.
    Early,
    /// It belongs to another past of the source.
    Elsewhere,
}

/// Decides how an envelope relates to a position, by numbers and terms alone.
pub fn connect(position: &Position, header: &Header) -> Connection {
    if header.last <= position.pn {
        return Connection::Duplicate;
    }
    if header.first > position.pn.plus(1) {
        return Connection::Early;
    }
    let known = position.pn.get() - header.first.previous().get();
    let term = if known == 0 { header.previous } else { header.term };
    match usize::try_from(known) {
        Ok(index) if term == position.term => Connection::From(index),
        _ => Connection::Elsewhere,
    }
}

/// The rank of one state of an entity; a divergence or a damaged copy raises the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// The number of the copy's past; compared first.
    pub history: i64,
    /// The version that the owner gave this state.
    pub version: Version,
}

/// One state of an entity, as far as the gate cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Its rank.
    pub stamp: Stamp,
    /// The digest of its payload; `None` when it is deleted.
    pub digest: Option<Digest>,
}

/// The road by which a state arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// As a numbered change; it must be newer than what is stored.
    Change,
    /// As a row of a snapshot; it may repeat what is stored, and so repairs it.
    Page,
}

/// What the gate says to an arriving state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It replaces what is stored.
    Wins,
    /// It replaces a stored state of the same rank that differs: the copy was damaged.
    Repairs,
    /// What is stored is newer, or the same.
    Stale,
    /// It has the rank of what is stored, but not its content: one of the two is wrong.
    Contradicts,
}

/// Compares an arriving state with the stored one.
pub fn gate(road: Road, arriving: &State, stored: Option<&State>) -> Gate {
    let Some(stored) = stored else { return Gate::Wins };
    if arriving.stamp != stored.stamp {
        return if arriving.stamp > stored.stamp { Gate::Wins } else { Gate::Stale };
    }
    match (road, arriving.digest == stored.digest) {
        (Road::Change, true) => Gate::Stale,
        (Road::Change, false) => Gate::Contradicts,
        (Road::Page, true) => Gate::Wins,
        (Road::Page, false) => Gate::Repairs,
    }
}

/// Groups a batch by key, in key order; the places of each key's changes, the newest first.
pub fn newest_first<'a>(
    batch: impl IntoIterator<Item = (&'a Key, Version)>,
) -> BTreeMap<&'a Key, Vec<usize>> {
    let mut by_key: BTreeMap<&Key, Vec<(Version, usize)>> = BTreeMap::new();
    for (place, (key, version)) in batch.into_iter().enumerate() {
        by_key.entry(key).or_default().push((version, place));
    }
    let sorted = by_key.into_iter().map(|(key, mut places)| {
        places.sort_by_key(|(version, place)| (std::cmp::Reverse(*version), *place));
        (key, places.into_iter().map(|(_, place)| place).collect())
    });
    sorted.collect()
}

/// What is known of a stream when a sync has been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The newest number at the source.
    pub head: Pn,
    /// Where the consumer stands now.
    pub position: Pn,
    /// Where it stood when the sync before was answered; `None` at the first.
    pub before: Option<Pn>,
    /// Whether anything would push what is missing.
    pub pushes: Pushes,
}

/// Whether the transport pushes at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushes {
    /// A broker delivers, usually.
    Expected,
    /// There is no broker.
    Never,
}

/// Whether the reader has to ask the feed: the head lies above the position, and nothing moves.
pub fn is_due(sighting: &Sighting) -> bool {
    let Sighting { head, position, before, pushes } = sighting;
    let moving = *pushes == Pushes::Expected && before.is_some_and(|before| before < *position);
    head > position && !moving
}

/// What a copy of one topic is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It was never loaded.
    New,
    /// It pages through the snapshot while changes flow.
    Loading,
    /// It deletes what the snapshot did not contain.
    Sweeping,
    /// It follows its source.
    Serving,
    /// It stands still: copy and source have different pasts.
    Diverged,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::New, Self::Loading, Self::Sweeping, Self::Serving, Self::Diverged];

    /// The name as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Loading => "loading",
            Self::Sweeping => "sweeping",
            Self::Serving => "serving",
            Self::Diverged => "diverged",
        }
    }

    /// The phase of this name.
    pub fn parse(raw: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == raw)
    }

    /// Whether numbered changes are applied in it.
    pub const fn takes_changes(self) -> bool {
        match self {
            Self::Loading | Self::Sweeping | Self::Serving => true,
            Self::New | Self::Diverged => false,
        }
    }

    /// Whether a rebuild is under way.
    pub const fn is_rebuilding(self) -> bool {
        match self {
            Self::Loading | Self::Sweeping => true,
            Self::New | Self::Serving | Self::Diverged => false,
        }
    }
}

/// Why a copy has to be loaded anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It was never loaded.
    New,
    /// It was away for longer than the source keeps changes.
    BehindFloor,
    /// Copy and source have different pasts.
    Diverged,
    /// Somebody asks for it.
    Asked,
    /// Somebody knows that its rows are wrong, whatever their versions say.
    Damaged,
}

impl Cause {
    /// Whether stored states must lose to arriving ones of a lower version.
    pub const fn raises_history(self) -> bool {
        match self {
            Self::Diverged | Self::Damaged => true,
            Self::New | Self::BehindFloor | Self::Asked => false,
        }
    }

    /// The name as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::BehindFloor => "behind-floor",
            Self::Diverged => "diverged",
            Self::Asked => "asked",
            Self::Damaged => "damaged",
        }
    }
}

/// Decides from a sync whether the copy can follow its source (`None`), or why it cannot.
///
/// `root` is the one that the copy was built from; `asked` are the positions that the call brought.
pub fn judge(
    root: Option<Term>,
    asked: &[calls::Position],
    answer: &SyncResponse,
) -> Option<Cause> {
    let Some(root) = root else { return Some(Cause::New) };
    let lacks = |position: &calls::Position| {
        let at_root = position.pn == Pn::ZERO && position.term == root;
        !at_root && !answer.streams.iter().any(|stream| stream.stream == position.stream)
    };
    let any = |state| answer.streams.iter().any(|stream| stream.state == state);
    if answer.root != root || any(PositionState::Diverged) || asked.iter().any(lacks) {
        Some(Cause::Diverged)
    } else if any(PositionState::BehindFloor) {
        Some(Cause::BehindFloor)
    } else {
        None
    }
}

/// The heads of the first sync, which a consumer has to reach once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Goal(Option<BTreeMap<Stream, Pn>>);

impl Goal {
    /// A sync was answered. The first sets the goal; a later one with lower heads lowers it, since
    /// a source that was restored no longer has what it had promised.
    pub fn see(&mut self, answer: &SyncResponse) {
        let now: BTreeMap<_, _> =
            answer.streams.iter().map(|at| (at.stream.clone(), at.head)).collect();
        let goal = self.0.get_or_insert_with(|| now.clone());
        goal.retain(|stream, _| now.contains_key(stream));
        for (stream, head) in now {
            goal.entry(stream).and_modify(|goal| *goal = head.min(*goal));
        }
    }

    /// Whether these positions are there; nobody is before the first sync.
    pub fn is_reached(&self, position: impl Fn(&Stream) -> Option<Pn>) -> bool {
        let Some(heads) = &self.0 else { return false };
        heads.iter().all(|(stream, head)| position(stream).is_some_and(|at| at >= *head))
    }
}

/// What to do with a page of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The positions include all that the page includes: apply it.
    Apply,
    /// The positions have yet to reach its heads.
    Wait,
    /// The positions passed its heads by another past than its own: read it again.
    ReadAgain,
}

/// Compares the heads that came with a page with the positions of the copy.
///
/// A term is one relay's time in charge, so two numbers of one term lie in one past.
pub fn page(heads: &[calls::Position], positions: &BTreeMap<Stream, Position>) -> Page {
    let mut verdict = Page::Apply;
    for head in heads {
        match positions.get(&head.stream) {
            Some(at) if at.pn >= head.pn && at.term != head.term => return Page::ReadAgain,
            Some(at) if at.pn >= head.pn => {}
            Some(_) | None => verdict = Page::Wait,
        }
    }
    verdict
}

/// One recorded try of a batch, made after an unclean stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The first number tried.
    pub first: Pn,
    /// The last number tried.
    pub last: Pn,
    /// The last number under suspicion; the first is the position's successor.
    pub suspect: Pn,
    /// How often exactly this was tried.
    pub count: u32,
    /// Whether it ended other than by the death of the process.
    pub survived: bool,
}

/// What to try next after an unclean stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Record and try this part of the batch.
    Try(Attempt),
    /// The first record kills the process: it becomes a case without another try.
    SetAside,
}

/// Decides how much of the batch `first..=last` to try, given the last recorded try of its stream.
///
/// A part that died is halved; what follows a part that survived is halved too, since the record
/// at fault must lie there.
pub fn attempt(recorded: Option<&Attempt>, first: Pn, last: Pn) -> Next {
    let whole = Attempt { first, last, suspect: last, count: 1, survived: false };
    let Some(tried) = recorded.filter(|tried| tried.first <= first && first <= tried.suspect)
    else {
        return Next::Try(whole);
    };
    if tried.survived {
        let size = tried.suspect.get() - first.get() + 1;
        let half = first.plus((size + 1) / 2 - 1);
        return Next::Try(Attempt { last: half.min(last), suspect: tried.suspect, ..whole });
    }
    if first > tried.last {
        return Next::Try(whole);
    }
    let size = tried.last.get() - first.get() + 1;
    if size == 1 {
        return if tried.count >= DEATHS_MAX {
            Next::SetAside
        } else {
            let count = if tried.first == first { tried.count + 1 } else { 1 };
            Next::Try(Attempt { last: first, suspect: first, count, ..whole })
        };
    }
    let half = first.plus(size / 2 - 1);
    Next::Try(Attempt { last: half.min(last), suspect: tried.last, ..whole })
}

#[cfg(test)]
mod tests;
