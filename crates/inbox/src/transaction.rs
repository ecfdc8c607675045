//! A transaction that needs no round trips of its own.

use std::future::{Future, ready};
use std::ops::Deref;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use deadpool_postgres::ClientWrapper;
use futures::FutureExt as _;
use futures::future::{join, try_join};

use crate::Error;

/// A frozen process must not hold the position, and nobody may queue for it without end.
///
/// Statements are planned once and not for the values of each batch, which takes longer than to
/// run them; for that a plan must stay good while its tables grow: indexes and no scans.
const BEGIN: &str = "begin isolation level read committed; \
                     set local idle_in_transaction_session_timeout = '2s'; \
                     set local lock_timeout = '2s'; \
                     set local plan_cache_mode = force_generic_plan; \
                     set local enable_seqscan = off; \
                     set local jit = off";
/// `commit` in a transaction that has failed answers "rolled back" and no error; the empty
/// statement before it makes that an error.
const COMMIT: &str = "select; commit";
const ROLL_BACK: &str = "rollback";

/// The transaction in which a batch is applied: what a connection can do, and all of it or nothing.
///
/// The inbox begins and ends it; what a projection writes in it is committed with the position.
/// Dropped without a commit, it rolls back.
#[derive(Debug)]
pub struct Transaction<'a> {
    client: &'a ClientWrapper,
    /// Whether a beginning was sent and no end was answered yet.
    is_open: AtomicBool,
}

impl<'a> Transaction<'a> {
    /// Begins one as the inbox does, for the tests of a projection.
    pub async fn begin(client: &'a ClientWrapper) -> Result<Self, Error> {
        let tx = Self::new(client);
        tx.begin_with(ready(Ok(()))).await?;
        Ok(tx)
    }

    /// Commits.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.commit_with(ready(Ok(()))).await?)
    }

    /// Prepares to begin; nothing is sent yet.
    pub(crate) const fn new(client: &'a ClientWrapper) -> Self {
        Self { client, is_open: AtomicBool::new(false) }
    }

    /// Begins, and runs the first statements in the same round trip.
    pub(crate) async fn begin_with<T>(
        &self,
        first: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.is_open.store(true, Ordering::Relaxed);
        // Polled in order, so sent in order.
        let (begun, answer) = join(self.client.batch_execute(BEGIN), first).await;
        begun?;
        answer
    }

    /// Runs all that it ever runs: one round trip from its beginning to its commit. The statements
    /// must be prepared, as those of [`Self::commit_with`].
    pub(crate) async fn at_once<T>(
        &self,
        all: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        self.is_open.store(true, Ordering::Relaxed);
        let begun = self.client.batch_execute(BEGIN);
        let all = async { try_join(begun, all).await.map(|((), answer)| answer) };
        Box::pin(self.commit_with(all)).await
    }

    /// Runs the last statements, and commits in the same round trip; nothing is committed if one of
    /// them fails. They must be prepared, so that the first poll sends them all: what it leaves
    /// unsent would come after the commit.
    pub(crate) async fn commit_with<T>(
        &self,
        last: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        let mut last = pin!(last);
        let commit = self.client.batch_execute(COMMIT);
        let (answer, committed) = match futures::poll!(last.as_mut()) {
            // A value that has no form in the database: not all was sent, so nothing may stay.
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Ready(Ok(answer)) => (Ok(answer), commit.await),
            Poll::Pending => join(last, commit).await,
        };
        // The first error is the cause: after it the server refuses the rest.
        let answer = answer?;
        committed?;
        self.is_open.store(false, Ordering::Relaxed);
        Ok(answer)
    }
}

impl Deref for Transaction<'_> {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.client
    }
}

impl Drop for Transaction<'_> {
    /// The connection goes back to its pool, so the transaction must not stay open. The statement
    /// is sent by its first poll; nobody waits for the answer.
    fn drop(&mut self) {
        if *self.is_open.get_mut() {
            drop(self.client.batch_execute(ROLL_BACK).now_or_never());
        }
    }
}
