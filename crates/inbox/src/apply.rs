//! Hands a gated batch to the projection: as a whole, or record by record once the whole failed.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use contracts::{Digest, Key, Pn, Stream, Version};
use futures::FutureExt as _;
use protocol::reader::DEATHS_MAX;

use crate::batch::{Arriving, Gated, Kind, Refused, choose};
use crate::error::chain;
use crate::{Change, Dirty, Error, Projection, Transaction, store};

/// How a batch is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    /// In one call of the projection.
    Whole,
    /// Each record under a savepoint of its own, so that a bad one fails alone.
    EachAlone,
    /// Not at all: its only record keeps killing the process.
    SetAside,
}

/// A state that was applied.
#[derive(Debug)]
pub(crate) struct Winner<'a> {
    pub(crate) key: &'a Key,
    pub(crate) version: Version,
    pub(crate) digest: Option<Digest>,
    pub(crate) pn: Option<Pn>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(crate) struct Settled<'a> {
    pub(crate) winners: Vec<Winner<'a>>,
    pub(crate) stale: Vec<Pn>,
    pub(crate) cases: Vec<Refused>,
    /// Keys of sinks that have yet to be marked dirty.
    pub(crate) dirty: Vec<Dirty>,
    /// Whether some are already.
    marked: bool,
    pub(crate) contradictions: u32,
}

impl<'a> Settled<'a> {
    /// Whether a sink has something to notice.
    pub(crate) fn is_marked(&self) -> bool {
        self.marked || !self.dirty.is_empty()
    }

    fn win(&mut self, record: &Arriving<'a>, overtaken: &[Arriving<'_>]) {
        let Arriving { key, version, digest, pn, .. } = *record;
        self.winners.push(Winner { key, version, digest, pn });
        self.stale.extend(overtaken.iter().filter_map(|older| older.pn));
    }

    async fn mark_cases<P: Projection>(
        &mut self,
        tx: &Transaction<'_>,
        projection: &P,
    ) -> Result<(), Error> {
        let keys: Vec<_> = self.cases.iter().filter_map(|case| case.key.clone()).collect();
        self.marked = true;
        mark_cases(tx, projection, &keys).await
    }
}

/// Transforms, validates and applies a batch; `stream` is none for the rows of a page.
pub(crate) async fn apply<'a, P: Projection>(
    tx: &Transaction<'_>,
    projection: &P,
    stream: Option<&Stream>,
    gated: Gated<'a>,
    trial: Trial,
) -> Result<Settled<'a>, Error> {
    let mut settled = Settled {
        stale: gated.stale,
        cases: gated.cases,
        contradictions: gated.contradictions,
        ..Settled::default()
    };
    match trial {
        Trial::Whole => whole(tx, projection, stream, &gated.candidates, &mut settled).await?,
        Trial::EachAlone => {
            store::check_constraints_at_once(tx).await?;
            for candidates in &gated.candidates {
                each(tx, projection, stream, candidates, &mut settled).await?;
            }
            settled.mark_cases(tx, projection).await?;
        }
        Trial::SetAside => {
            let reason = format!("the process died {DEATHS_MAX} times while applying it alone");
            settled.cases.extend(gated.candidates.iter().flatten().map(|record| Refused {
                attempts: DEATHS_MAX,
                ..Refused::new(record, Kind::Failing, "apply", reason.clone())
            }));
            settled.mark_cases(tx, projection).await?;
        }
    }
    Ok(settled)
}

async fn whole<'a, P: Projection>(
    tx: &Transaction<'_>,
    projection: &P,
    stream: Option<&Stream>,
    batch: &[Vec<Arriving<'a>>],
    settled: &mut Settled<'a>,
) -> Result<(), Error> {
    let mut changes = Vec::with_capacity(batch.len());
    for candidates in batch {
        let chosen = choose(projection, stream, candidates);
        settled.cases.extend(chosen.cases);
        let Some((index, change)) = chosen.fit else { continue };
        if let Some((record, overtaken)) = candidates.get(index..).and_then(<[_]>::split_first) {
            settled.win(record, overtaken);
            changes.push(change);
        }
    }
    if !changes.is_empty() {
        guard(projection.apply(tx, &changes)).await?;
    }
    changes.extend(settled.cases.iter().filter_map(without_entity));
    if !changes.is_empty() {
        settled.dirty = guard(projection.dirty(tx, &changes)).await?;
    }
    Ok(())
}

/// Of one key the newest candidate that can be stored wins; newer ones become cases.
async fn each<'a, P: Projection>(
    tx: &Transaction<'_>,
    projection: &P,
    stream: Option<&Stream>,
    candidates: &[Arriving<'a>],
    settled: &mut Settled<'a>,
) -> Result<(), Error> {
    let mut rest = candidates;
    loop {
        let chosen = choose(projection, stream, rest);
        settled.cases.extend(chosen.cases);
        let Some((index, change)) = chosen.fit else { return Ok(()) };
        let Some((record, older)) = rest.get(index..).and_then(<[_]>::split_first) else {
            return Ok(());
        };
        let changes = std::slice::from_ref(&change);
        let tried = alone(tx, async {
            projection.apply(tx, changes).await?;
            // Marked here and not with the rest: a sink's key may be as bad as any other value.
            store::mark_dirty(tx, &projection.dirty(tx, changes).await?).await
        });
        match tried.await {
            Ok(()) => {
                settled.win(record, older);
                settled.marked = true;
                return Ok(());
            }
            Err(error) if error.blames_record() => {
                let reason = chain(&error);
                let case =
                    Refused { attempts: 2, ..Refused::new(record, Kind::Failing, "apply", reason) };
                settled.cases.push(case);
                rest = older;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Runs the consumer's code under a savepoint, so that its failure takes nothing else along.
async fn alone<T>(
    tx: &Transaction<'_>,
    code: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    store::set_savepoint(tx).await?;
    let result = match guard(code).await {
        Ok(value) => store::release_savepoint(tx).await.map(|()| value),
        Err(error) => Err(error),
    };
    if result.is_err() {
        store::roll_back_to_savepoint(tx).await?;
    }
    result
}

/// Marks the sinks' keys of entities whose case was opened or closed; one that cannot be marked is
/// left out.
pub(crate) async fn mark_cases<P: Projection>(
    tx: &Transaction<'_>,
    projection: &P,
    keys: &[Key],
) -> Result<(), Error> {
    for key in keys {
        let change = Change { key: key.clone(), version: Version::ZERO, entity: None, place: None };
        let changes = std::slice::from_ref(&change);
        let marked =
            alone(tx, async { store::mark_dirty(tx, &projection.dirty(tx, changes).await?).await });
        match marked.await {
            Ok(()) => {}
            Err(error) if error.blames_record() => {
                let (key, error) = (change.key.as_str(), chain(&error));
                tracing::error!(key, error, "the key of a case could not be marked dirty");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn without_entity<E>(case: &Refused) -> Option<Change<E>> {
    let version = case.version.unwrap_or(Version::ZERO);
    case.key.clone().map(|key| Change { key, version, entity: None, place: None })
}

/// Runs the consumer's own code; a panic in it is the record's fault, not the end of a task.
pub(crate) async fn guard<T>(code: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match AssertUnwindSafe(code).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(Error::Panicked(words(panic.as_ref()))),
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without words").to_owned()
}
