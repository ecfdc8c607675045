//! A transaction that needs no round trips of its own.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use deadpool_postgres::ClientWrapper;
use futures::FutureExt as _;
use futures::future::join;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use contracts::Version;

use crate::{Append, Error};

/// A transaction of a service: `begin` travels with its first statement, and `commit` may travel
/// with its last append. Dropped without a commit, it rolls back.
///
/// A statement is prepared once per connection, so only its first use costs a round trip more.
#[derive(Debug)]
pub struct Tx<'a> {
    client: &'a ClientWrapper,
    /// Whether `begin` was sent and no end of it yet.
    open: AtomicBool,
}

impl<'a> Tx<'a> {
    /// Prepares to begin; nothing is sent yet.
    pub const fn begin(client: &'a ClientWrapper) -> Self {
        Self { client, open: AtomicBool::new(false) }
    }

    /// Runs a statement; answers how many rows it touched.
    pub async fn execute(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        let statement = self.client.prepare_cached(sql).await.map_err(Error::Database)?;
        self.within(self.client.execute(&statement, parameters)).await.map_err(Error::Database)
    }

    /// Runs a statement; answers its rows.
    pub async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.client.prepare_cached(sql).await.map_err(Error::Database)?;
        self.within(self.client.query(&statement, parameters)).await.map_err(Error::Database)
    }

    /// Runs a statement that answers one row at most.
    pub async fn query_opt(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        let statement = self.client.prepare_cached(sql).await.map_err(Error::Database)?;
        self.within(self.client.query_opt(&statement, parameters)).await.map_err(Error::Database)
    }

    /// Runs a statement that answers one row.
    pub async fn query_one(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Error> {
        let statement = self.client.prepare_cached(sql).await.map_err(Error::Database)?;
        self.within(self.client.query_one(&statement, parameters)).await.map_err(Error::Database)
    }

    /// Appends a change; answers the version that holds afterwards, 0 if it never existed.
    pub async fn append(&self, change: &Append<'_>) -> Result<Version, Error> {
        let statement = change.prepare(self.client).await?;
        let appended = self.within(change.send(self.client, &statement)).await;
        change.version(appended)
    }

    /// Appends the last change and commits, in one round trip.
    pub async fn append_and_commit(self, change: &Append<'_>) -> Result<Version, Error> {
        let statement = change.prepare(self.client).await?;
        let mut appending = pin!(self.within(change.send(self.client, &statement)));
        // The first poll sends it, or fails before anything was sent: then nothing may be
        // committed.
        let (appended, committed) = match futures::poll!(appending.as_mut()) {
            Poll::Ready(Err(source)) => return change.version(Err(source)),
            Poll::Ready(Ok(row)) => (Ok(row), self.client.batch_execute(COMMIT).await),
            Poll::Pending => join(appending, self.client.batch_execute(COMMIT)).await,
        };
        match appended {
            // The database refused it, and so rolled back.
            Err(source) if source.as_db_error().is_some() => change.version(Err(source)),
            Err(source) => Err(Error::CommitUnknown(source)),
            Ok(row) => {
                committed.map_err(Error::of_commit)?;
                self.open.store(false, Ordering::Relaxed);
                change.version(Ok(row))
            }
        }
    }

    /// Commits. An error that is [`Error::CommitUnknown`] leaves open whether it happened.
    pub async fn commit(self) -> Result<(), Error> {
        if !self.open.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.client.batch_execute(COMMIT).await.map_err(Error::of_commit)?;
        self.open.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The connection, for what must be prepared on it.
    pub(crate) const fn client(&self) -> &'a ClientWrapper {
        self.client
    }

    /// Sends `begin` before the first statement and waits for both at once.
    pub(crate) async fn within<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        if self.open.swap(true, Ordering::Relaxed) {
            return statement.await;
        }
        // Polled in order, so sent in order.
        let (begun, answer) = join(self.client.batch_execute("begin"), statement).await;
        begun?;
        answer
    }
}

/// `commit` in a transaction that has failed answers "rolled back" and no error; the empty
/// statement before it makes that an error.
const COMMIT: &str = "select; commit";

impl Drop for Tx<'_> {
    /// The connection goes back to its pool, so the transaction must not stay open. The statement
    /// is sent by its first poll; nobody waits for the answer.
    fn drop(&mut self) {
        if *self.open.get_mut() {
            drop(self.client.batch_execute("rollback").now_or_never());
        }
    }
}
