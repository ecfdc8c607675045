//! One upload at work: from the pieces of its file to stored batches.

use std::{cmp::Ordering, ops::Deref, slice};

use deadpool_postgres::{ClientWrapper, Object, Pool};
use outbox::Tx;
use service_kit::{Problem, chain};

use super::{
    batch::{Batch, parse},
    collection::{Collection, Outcome},
    lines::{Format, Found, Lines},
    progress::{Progress, Refusal, State, Totals},
    source::{Prefix, Source},
    store::{self, Begun},
};
use crate::Error;

/// A batch that lost against another writer is tried so often.
const TRIES_MAX: usize = 5;

/// The connection of one upload, which holds its key.
pub(super) struct Session {
    client: Option<Object>,
}

impl Session {
    /// Takes the key, where there is one, until the end of this value.
    pub(super) async fn open(pool: &Pool, key: Option<&str>) -> Result<Self, Error> {
        let session = Self { client: Some(pool.get().await?) };
        match key {
            Some(key) if !store::lock_import(&session, key).await? => Err(Error::StillRunning),
            _ => Ok(session),
        }
    }
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.client.as_ref().expect("it is taken only when this is dropped")
    }
}

impl Drop for Session {
    /// The key is held by the connection, so it may not go back to the pool. This way it is free
    /// again whatever ends the upload, be it the end of this process.
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

/// One upload at work.
pub(super) struct Run<'a, C: Collection> {
    collection: &'a C,
    client: &'a ClientWrapper,
    id: i64,
    lines: Lines,
    /// What an earlier try has done of the file, until that is passed; all of a finished one.
    mark: Option<Mark>,
    batch: Batch<C>,
    /// What was read with the batch.
    with_batch: Prefix,
    pub(super) progress: Progress,
}

/// A prefix that is done already.
#[derive(Debug)]
struct Mark {
    bytes: u64,
    digest: Vec<u8>,
}

/// How the records of a batch are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Together,
    /// Each by itself, so that only those are refused that cannot be stored.
    Alone,
}

impl<'a, C: Collection> Run<'a, C> {
    pub(super) fn new(
        collection: &'a C,
        client: &'a ClientWrapper,
        begun: Begun,
        format: Format,
    ) -> Self {
        let Begun { id, progress, .. } = begun;
        let bytes = progress.bytes.unsigned_abs();
        let is_new = progress.state == State::Open && bytes == 0;
        Self {
            collection,
            client,
            id,
            lines: Lines::new(format, C::COLUMNS),
            mark: (!is_new).then(|| Mark { bytes, digest: progress.digest.clone() }),
            batch: Batch::new(),
            with_batch: Prefix::default(),
            progress,
        }
    }

    /// Reads the file to its end. What was read whole before the upload failed is stored.
    pub(super) async fn read(&mut self, source: &mut Source) -> Result<(), Problem> {
        while let Some(piece) = source.next().await {
            match piece {
                Ok(mut piece) => {
                    self.lines.done().pass_mark(&mut piece);
                    self.take(&piece).await?;
                }
                Err(problem) => {
                    self.store(State::Open).await?;
                    return Err(problem);
                }
            }
        }
        while let Some(found) = self.lines.end()? {
            self.add(found).await?;
        }
        match &self.mark {
            None => Ok(self.store(State::Finished).await?),
            Some(mark) if self.progress.state == State::Finished && mark.is(self.lines.done()) => {
                Ok(())
            }
            Some(_) => Err(Error::KeyReused.into()),
        }
    }

    async fn take(&mut self, mut rest: &[u8]) -> Result<(), Problem> {
        loop {
            let (used, found) = self.lines.next(rest)?;
            rest = rest.get(used..).unwrap_or_default();
            match found {
                Some(found) => self.add(found).await?,
                None if rest.is_empty() => return Ok(()),
                None => {}
            }
        }
    }

    /// Adds a record to the batch, unless an earlier try has done it.
    async fn add(&mut self, found: Found) -> Result<(), Problem> {
        if self.was_done()? {
            return Ok(());
        }
        let mut parsed = parse::<C>(found);
        if let Ok((_, record)) = &parsed.record {
            parsed.weight = self.collection.weight(self.client, record).await?;
        }
        if self.batch.is_closed_to(&parsed) {
            self.store(State::Open).await?;
        }
        self.batch.push(parsed);
        self.with_batch = self.lines.done().clone();
        Ok(())
    }

    /// Whether an earlier try has done the record that was just read; it must have read the same.
    fn was_done(&mut self) -> Result<bool, Error> {
        let Some(mark) = &self.mark else { return Ok(false) };
        let done = self.lines.done();
        match done.bytes().cmp(&mark.bytes) {
            Ordering::Less => Ok(true),
            Ordering::Equal if mark.is(done) => {
                if self.progress.state == State::Open {
                    self.mark = None;
                }
                Ok(true)
            }
            Ordering::Equal | Ordering::Greater => Err(Error::KeyReused),
        }
    }

    /// Stores the batch and moves the progress, in one transaction.
    async fn store(&mut self, state: State) -> Result<(), Error> {
        if state == State::Open && self.batch.is_empty() {
            return Ok(());
        }
        let is_finished = state == State::Finished;
        let prefix = if is_finished { self.lines.done() } else { &mut self.with_batch };
        let mut next = self.progress.clone();
        next.bytes = i64::try_from(prefix.bytes()).unwrap_or(i64::MAX);
        next.digest = prefix.digest().as_bytes().to_vec();
        next.line = self.batch.last_line().unwrap_or(next.line);
        next.state = state;
        let (mut manner, mut tries) = (Manner::Together, 1);
        let totals = loop {
            match self.try_batch(&next, manner).await {
                Ok(totals) => break totals,
                Err(error) if error.lost_against_another() && tries < TRIES_MAX => tries += 1,
                Err(error) if error.refusal().is_some() && manner == Manner::Together => {
                    manner = Manner::Alone;
                }
                Err(error) => return Err(error),
            }
        };
        self.progress = Progress { totals, ..next };
        self.batch = Batch::new();
        Ok(())
    }

    async fn try_batch(&self, next: &Progress, manner: Manner) -> Result<Totals, Error> {
        let tx = Tx::begin(self.client);
        let records = &self.batch.records;
        let outcomes = match (records.is_empty(), manner) {
            (true, _) => Vec::new(),
            (false, Manner::Together) => self.collection.store(&tx, records).await?,
            (false, Manner::Alone) => self.store_alone(&tx, records).await?,
        };
        debug_assert_eq!(outcomes.len(), records.len(), "every record has one outcome");
        let mut totals = self.progress.totals;
        let mut refusals = Vec::new();
        for (line, problem) in &self.batch.refused {
            totals.refused += 1;
            refusals.extend(Refusal::of(*line, problem));
        }
        for (line, outcome) in self.batch.lines.iter().zip(&outcomes) {
            totals.count(outcome);
            if let Outcome::Refused(problem) = outcome {
                refusals.extend(Refusal::of(*line, problem));
            }
        }
        if !refusals.is_empty() {
            store::save_refusals(&tx, self.id, &refusals).await?;
        }
        store::move_import(&tx, self.id, &Progress { totals, ..next.clone() }).await?;
        tx.commit().await?;
        Ok(totals)
    }

    async fn store_alone(&self, tx: &Tx<'_>, records: &[C::Record]) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = Vec::with_capacity(records.len());
        for record in records {
            store::savepoint(tx).await?;
            match self.collection.store(tx, slice::from_ref(record)).await {
                Ok(mut outcome) => {
                    store::release(tx).await?;
                    outcomes.append(&mut outcome);
                }
                Err(error) => {
                    let Some(problem) = error.refusal() else { return Err(error) };
                    tracing::warn!(error = chain(&error), "a record of an import cannot be stored");
                    store::roll_back(tx).await?;
                    outcomes.push(Outcome::Refused(problem));
                }
            }
        }
        Ok(outcomes)
    }
}

impl Mark {
    fn is(&self, prefix: &Prefix) -> bool {
        self.bytes == prefix.bytes() && self.digest == prefix.digest().as_bytes()
    }
}
