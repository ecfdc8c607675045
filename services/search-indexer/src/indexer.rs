//! The worker between the parts and the index: composes documents after the commit, keeps the
//! index and the database's note of it together, and rebuilds the index where they disagree.
//!
//! A commit of the index takes four steps: the next commit id is announced in the database; the
//! index commits under that id; the id is noted; the inbox cleans the dirty keys. A crash between
//! any two leaves an index that is noted or announced, and dirty keys for whatever it may lack.
//!
//! Each process has an index of its own, and one of them at a time keeps its index and answers from
//! it: the one that holds the worker's lock. The others wait, since nobody keeps theirs.

mod worker;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use contracts::Key;
use deadpool_postgres::{Client, Pool};
use serde::Serialize;
use service_kit::chain;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::domain::{Parts, compose};
use crate::index::{self, Batch, CommitId, Index, Page, Question};
use crate::store;
use crate::window::{Cost, Window};

pub use self::worker::Worker;

/// How long it waits before it tries again to mend the index, at first and at last.
const MEND_INTERVAL_MIN: Duration = Duration::from_millis(100);
const MEND_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// How many documents a rebuild reads at once.
const PAGE: i64 = 1_000;

/// Keeps the index equal to the parts.
#[derive(Debug)]
pub struct Indexer<I> {
    pool: Pool,
    index: I,
    state: RwLock<State>,
    /// Whether this process is the one that keeps its index.
    is_keeper: AtomicBool,
    /// Held by whoever opens, rebuilds or writes.
    turn: Mutex<()>,
    unsound: Notify,
    /// Times of the window are those since then.
    since: Instant,
    window: std::sync::Mutex<Window>,
    commits: AtomicU64,
}

/// What may be asked of the index now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has to be compared with the database first.
    Unsound,
    /// It is being written anew from the parts.
    Rebuilding { done: u64, total: u64 },
    /// It agrees with the database.
    Serving(CommitId),
}

/// The index as `/sync/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexStatus {
    /// `serving`, `rebuilding`, `unsound`, or `waiting` while another process keeps its index.
    pub state: &'static str,
    /// How many documents can be found.
    pub documents: u64,
    /// The commit that the index is at, while it serves.
    pub commit: Option<Uuid>,
    /// How many documents of how many a rebuild has written.
    pub rebuilt: Option<[u64; 2]>,
    /// Into how many segments a search looks.
    pub segments: usize,
}

impl<I: Index> Indexer<I> {
    /// A worker over this database and this index, which is opened by the first `mend` after
    /// `begin`.
    pub fn new(pool: Pool, index: I) -> Self {
        Self {
            pool,
            index,
            state: RwLock::new(State::Unsound),
            is_keeper: AtomicBool::new(false),
            turn: Mutex::new(()),
            unsound: Notify::new(),
            since: Instant::now(),
            window: std::sync::Mutex::default(),
            commits: AtomicU64::new(0),
        }
    }

    /// This process keeps its index from now on. Others may have written since it last did, so the
    /// index is compared with the database before anything is answered from it.
    pub async fn begin(&self) {
        // Whoever still rebuilds or writes under an earlier right ends first.
        let turn = self.turn.lock().await;
        self.set(State::Unsound);
        self.is_keeper.store(true, Ordering::Release);
        drop(turn);
        self.unsound.notify_one();
    }

    /// Another process keeps its index from now on: nothing more is answered from this one.
    pub fn end(&self) {
        self.is_keeper.store(false, Ordering::Release);
    }

    /// Whether searches are answered.
    pub fn is_serving(&self) -> bool {
        self.is_keeper() && matches!(self.state(), State::Serving(_))
    }

    fn is_keeper(&self) -> bool {
        self.is_keeper.load(Ordering::Acquire)
    }

    /// The index as it is now.
    pub fn status(&self) -> IndexStatus {
        let state = self.state();
        let (name, commit, rebuilt) = match state {
            _ if !self.is_keeper() => ("waiting", None, None),
            State::Unsound => ("unsound", None, None),
            State::Rebuilding { done, total } => ("rebuilding", None, Some([done, total])),
            State::Serving(commit) => ("serving", Some(commit.0), None),
        };
        let (documents, segments) = (self.index.documents(), self.index.segments());
        IndexStatus { state: name, documents, commit, rebuilt, segments }
    }

    /// How many commits this process has made.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// How many products have not arrived while a price or stock of theirs has.
    pub async fn waiting(&self) -> Result<u64, Error> {
        Ok(store::count_waiting(&self.pool.get().await?).await?.unsigned_abs())
    }

    /// Answers a question from an index that agrees with the database, and from no other: an index
    /// of another past shows products that never were, and a rebuild takes seconds.
    pub async fn search(&self, question: Question) -> Result<Page, Error> {
        if !self.is_serving() {
            return Err(if self.is_keeper() { Error::Unsound } else { Error::Waiting });
        }
        let answer = self.index.search(question).await;
        if answer.is_err() && self.is_serving() {
            self.doubt();
        }
        Ok(answer?)
    }

    /// Opens the index and rebuilds it from the parts unless it agrees with the database; does
    /// nothing while it serves.
    pub async fn mend(&self) -> Result<(), Error> {
        let turn = self.turn.lock().await;
        let mended = self.ensure().await;
        drop(turn);
        mended
    }

    /// Mends the index at once, and again whenever it has come into doubt, until it is stopped.
    pub async fn keep(&self, stop: CancellationToken) {
        let mut pause = MEND_INTERVAL_MIN;
        let work = async {
            loop {
                match self.mend().await {
                    Ok(()) | Err(Error::Waiting) => {
                        pause = MEND_INTERVAL_MIN;
                        self.unsound.notified().await;
                    }
                    Err(error) => {
                        warn!(error = chain(&error), "the index cannot be used, trying again");
                        sleep(pause).await;
                        pause = (pause * 2).min(MEND_INTERVAL_MAX);
                    }
                }
            }
        };
        // Whatever is broken off here is taken up again by the next start.
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Brings the documents with these keys up to date, found when this returns.
    pub async fn update(&self, keys: &[Key]) -> Result<(), Error> {
        let turn = self.turn.lock().await;
        let held = self.ensure_serving().await?;
        let started = self.since.elapsed();
        let updated = self.write_and_commit(held, keys).await;
        if matches!(updated, Err(Error::Index(_) | Error::Foreign)) {
            self.doubt();
        }
        updated?;
        drop(turn);
        let took = self.since.elapsed() - started;
        let made = Cost { started, took, segments: self.index.segments() };
        self.window().step(made);
        Ok(())
    }

    /// Returns when the next commit is due, so that the keys of a burst gather meanwhile.
    async fn rest(&self) {
        let wait = self.window().wait(self.since.elapsed());
        sleep(wait).await;
    }

    async fn write_and_commit(&self, held: CommitId, keys: &[Key]) -> Result<(), Error> {
        let client = self.pool.get().await?;
        let next = CommitId(Uuid::now_v7());
        let names: Vec<String> = keys.iter().map(Key::to_string).collect();
        // Nothing is written unless it was announced: what lay in the writer without a commit would
        // be in the way of the next one.
        if !store::announce_commit(&client, held, next).await? {
            return Err(Error::Foreign);
        }
        let waiting = self.write(&client, keys, &names).await?;
        self.index.commit(next).await?;
        // From here on the index holds `next`, noted or not: the announcement vouches for it.
        self.set(State::Serving(next));
        self.commits.fetch_add(1, Ordering::Relaxed);
        let noted = store::note_commit(&client, next);
        let (known, ()) = tokio::try_join!(noted, store::note_waiting(&client, &names, &waiting))?;
        if known { Ok(()) } else { Err(Error::Foreign) }
    }

    /// Composes documents and hands them to the index; answers which of these products do not
    /// exist while parts of theirs do.
    async fn write(
        &self,
        client: &Client,
        keys: &[Key],
        names: &[String],
    ) -> Result<Vec<String>, Error> {
        let mut parts = store::read_parts(client, names).await?;
        let waiting = parts.waiting.drain(..).map(|key| key.to_string()).collect();
        self.index.write(batch(keys, parts)).await?;
        Ok(waiting)
    }

    async fn ensure_serving(&self) -> Result<CommitId, Error> {
        self.ensure().await?;
        match self.state() {
            State::Serving(commit) => Ok(commit),
            State::Unsound | State::Rebuilding { .. } => Err(Error::Unsound),
        }
    }

    async fn ensure(&self) -> Result<(), Error> {
        if self.is_serving() {
            return Ok(());
        }
        if !self.is_keeper() {
            return Err(Error::Waiting);
        }
        let result = self.open_or_rebuild().await;
        if result.is_err() {
            self.set(State::Unsound);
        }
        result
    }

    async fn open_or_rebuild(&self) -> Result<(), Error> {
        let noted = store::read_commit(&self.pool.get().await?).await?;
        let held = self.index.open().await?;
        if let Some(held) = held.filter(|held| noted.trusts(held)) {
            info!(index.commit = %held.0, documents = self.index.documents(), "opened the index");
            self.set(State::Serving(held));
            return Ok(());
        }
        match held {
            Some(held) => warn!(
                index.commit = %held.0, noted = ?noted,
                "the index is at commit {}, which the database does not know: rebuilding it", held.0
            ),
            None => info!("there is no usable index: rebuilding it from the parts"),
        }
        self.rebuild().await
    }

    /// Whatever changes while this reads is dirty, and is brought up to date afterwards.
    async fn rebuild(&self) -> Result<(), Error> {
        let client = self.pool.get().await?;
        let next = CommitId(Uuid::now_v7());
        let total = store::count_products(&client).await?.unsigned_abs();
        self.set(State::Rebuilding { done: 0, total });
        store::announce_rebuild(&client, next).await?;
        self.index.clear().await?;
        let mut done = 0_u64;
        let mut after = String::new();
        loop {
            let names = store::list_products(&client, &after, PAGE).await?;
            let Some(last) = names.last() else { break };
            if !self.is_keeper() {
                return Err(Error::Waiting);
            }
            after.clone_from(last);
            let parts = store::read_parts(&client, &names).await?;
            done += parts.products.len() as u64;
            self.index.write(batch(&[], parts)).await?;
            self.set(State::Rebuilding { done, total });
            info!(done, total, "rebuilding the index: {done} of {total} documents");
        }
        self.index.commit(next).await?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        if !store::note_commit(&client, next).await? {
            return Err(Error::Foreign);
        }
        info!(index.commit = %next.0, documents = done, "the index is rebuilt");
        self.set(State::Serving(next));
        Ok(())
    }

    fn doubt(&self) {
        self.set(State::Unsound);
        self.unsound.notify_one();
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> State {
        *self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Composes what exists; a key without a product has no document.
fn batch(keys: &[Key], parts: Parts) -> Batch {
    let Parts { products, categories, waiting: _ } = parts;
    let found: BTreeSet<&Key> = products.iter().map(|product| &product.sku).collect();
    let gone = keys.iter().filter(|key| !found.contains(key)).cloned().collect();
    let documents = products.into_iter().map(|product| compose(product, &categories)).collect();
    Batch { documents, gone }
}

/// Why the index is not up to date, or not answering.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The index has not been opened, or is being rebuilt.
    #[error("search an index that does not agree with the database yet")]
    Unsound,
    /// Another process keeps its index and answers.
    #[error("search an index that another process keeps instead")]
    Waiting,
    /// The database does not know the commit that this index holds: something else writes it.
    #[error("commit an index that belongs to another database, or to another process")]
    Foreign,
    /// The index failed.
    #[error("use the index")]
    Index(#[from] index::Error),
    /// The parts cannot be read.
    #[error("read the parts of documents")]
    Store(#[from] store::Error),
    /// No connection to the database.
    #[error("connect to the database of parts")]
    Pool(#[from] deadpool_postgres::PoolError),
}
