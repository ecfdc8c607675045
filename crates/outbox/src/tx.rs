//! A transaction that needs no round trips of its own.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::ClientWrapper;
use futures::future::{MaybeDone, join, join3, maybe_done};
use futures::{FutureExt as _, poll};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tracing::Instrument as _;

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
        let sending = self.within(change.send(self.client, &statement));
        change.version(sending.instrument(change.span()).await)
    }

    /// Appends the last change and commits, in one round trip.
    pub async fn append_and_commit(self, change: &Append<'_>) -> Result<Version, Error> {
        let append = change.prepare(self.client).await?;
        let mut beginning = pin!(maybe_done(self.begun()));
        sent(beginning.as_mut()).await.map_err(Error::Database)?;
        let mut appending =
            pin!(maybe_done(change.send(self.client, &append).instrument(change.span())));
        sent(appending.as_mut()).await.map_err(|source| change.refusal(source))?;
        let commit = self.client.batch_execute(COMMIT);
        let (_, _, committed) = join3(beginning.as_mut(), appending.as_mut(), commit).await;
        output(beginning).map_err(Error::CommitUnknown)?;
        match output(appending) {
            // The database refused it, and so rolled back.
            Err(source) if source.as_db_error().is_some() => Err(change.refusal(source)),
            Err(source) => Err(Error::CommitUnknown(source)),
            Ok(row) => {
                committed.map_err(Error::of_commit)?;
                self.open.store(false, Ordering::Relaxed);
                change.version(Ok(row))
            }
        }
    }

    /// Sends `begin` unless it was sent.
    async fn begun(&self) -> Result<(), tokio_postgres::Error> {
        if self.open.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.client.batch_execute("begin").await
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
        // Polled in order, so sent in order.
        let (begun, answer) = join(self.begun(), statement).await;
        begun?;
        answer
    }
}

/// `commit` in a transaction that has failed answers "rolled back" and no error; the empty
/// statement before it makes that an error.
const COMMIT: &str = "select; commit";

/// Sends a statement by its first poll, so that others can be sent after it. An error means that
/// it could not be sent: then nothing may be committed.
async fn sent<F, T>(mut sending: Pin<&mut MaybeDone<F>>) -> Result<(), tokio_postgres::Error>
where
    F: Future<Output = Result<T, tokio_postgres::Error>>,
{
    if poll!(sending.as_mut()).is_ready()
        && let Some(Err(_)) = sending.as_mut().output_mut()
        && let Some(Err(source)) = sending.take_output()
    {
        return Err(source);
    }
    Ok(())
}

/// What a future that was joined has answered.
fn output<F: Future>(joined: Pin<&mut MaybeDone<F>>) -> F::Output {
    joined.take_output().expect("it was awaited, and nobody took its output")
}

impl Drop for Tx<'_> {
    /// The connection goes back to its pool, so the transaction must not stay open. The statement
    /// is sent by its first poll; nobody waits for the answer.
    fn drop(&mut self) {
        if *self.open.get_mut() {
            drop(self.client.batch_execute("rollback").now_or_never());
        }
    }
}
