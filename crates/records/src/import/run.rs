//! One upload at work: from the pieces of its file to stored batches.

use std::{ops::Deref, pin::pin, slice};

use deadpool_postgres::{ClientWrapper, Object, Pool};
use futures::future::{Either, select};
use outbox::Tx;
use service_kit::{Problem, chain};

use super::{
    batch::Batch,
    collection::{Collection, Outcome},
    lines::Format,
    progress::{Progress, Refusal, State, Totals},
    reader::{End, Line, Reader},
    source::{Prefix, Source},
    store::{self, Begun},
};
use crate::Error;

/// A batch that lost against another writer is tried so often.
const TRIES_MAX: usize = 5;

/// The connection of one upload, which holds its key.
pub(super) struct Session {
    client: Option<Object>,
    has_key: bool,
}

impl Session {
    /// Takes the key, where there is one, until the end of this value.
    pub(super) async fn open(pool: &Pool, key: Option<&str>) -> Result<Self, Error> {
        let session = Self { client: Some(pool.get().await?), has_key: key.is_some() };
        match key {
            Some(key) if !store::lock_import(&session, key).await? => Err(Error::StillRunning),
            _ => Ok(session),
        }
    }

    /// Everything that was asked on it has been answered: without a key it goes back to its pool.
    pub(super) fn answered(mut self) {
        if !self.has_key {
            self.client = None;
        }
    }
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.client.as_ref().expect("it is taken only by its end")
    }
}

impl Drop for Session {
    /// A key is held by the connection, so it may not go back to the pool. This way it is free
    /// again whatever ends the upload, be it the end of this process; and whoever gets a connection
    /// next does not wait for what was given up half-way on it.
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
    batch: Batch<C>,
    /// What was read with the batch.
    with_batch: Prefix,
    pub(super) progress: Progress,
}

/// How the records of a batch are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Together,
    /// Each by itself, so that only those are refused that cannot be stored.
    Alone,
}

impl<'a, C: Collection> Run<'a, C> {
    /// The rest of an upload, and the reader of its file.
    pub(super) fn new(
        collection: &'a C,
        client: &'a ClientWrapper,
        begun: Begun,
        format: Format,
    ) -> (Self, Reader) {
        let Begun { id, progress, .. } = begun;
        let reader = Reader::new::<C>(format, &progress);
        let (batch, with_batch) = (Batch::new(), Prefix::default());
        (Self { collection, client, id, batch, with_batch, progress }, reader)
    }

    /// Stores the file to its end: while some of it is stored, what follows is read. What was read
    /// whole before the upload failed is stored.
    pub(super) async fn read(
        &mut self,
        reader: &mut Reader,
        source: &mut Source,
    ) -> Result<(), Problem> {
        let mut read = reader.read(source).await?;
        while let End::More = read.end {
            let storing = pin!(self.store_lines(read.lines));
            let reading = pin!(reader.read(source));
            // Polled in order, so that the database is at work first.
            read = match select(storing, reading).await {
                Either::Left((stored, reading)) => {
                    stored?;
                    reading.await?
                }
                Either::Right((read, storing)) => {
                    storing.await?;
                    read?
                }
            };
        }
        self.collect(read.lines).await?;
        match read.end {
            End::Finished(prefix) => {
                self.with_batch = prefix;
                Ok(self.store(State::Finished).await?)
            }
            End::Broken(problem) => {
                self.store(State::Open).await?;
                Err(problem)
            }
            End::More | End::FinishedBefore => Ok(()),
        }
    }

    /// Stores lines in as many batches as they need.
    async fn store_lines(&mut self, lines: Vec<Line<C>>) -> Result<(), Error> {
        self.collect(lines).await?;
        self.store(State::Open).await
    }

    /// Stores lines up to the last batch, which is left open.
    async fn collect(&mut self, lines: Vec<Line<C>>) -> Result<(), Error> {
        for Line { mut parsed, prefix } in lines {
            if let Ok((_, record)) = &parsed.record {
                parsed.weight = self.collection.weight(self.client, record).await?;
            }
            if self.batch.is_closed_to(&parsed) {
                self.store(State::Open).await?;
            }
            self.batch.push(parsed);
            self.with_batch = prefix;
        }
        Ok(())
    }

    /// Stores the batch and moves the progress, in one transaction.
    async fn store(&mut self, state: State) -> Result<(), Error> {
        if state == State::Open && self.batch.is_empty() {
            return Ok(());
        }
        let prefix = &self.with_batch;
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
