//! The producer's interface: append a change in the transaction that makes it true.

use deadpool_postgres::ClientWrapper;
use serde::Serialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use contracts::{Contract, Operation, Version};

use crate::{Error, Tx};

const APPEND: &str = include_str!("../queries/append.sql");
const APPEND_MANY: &str = include_str!("../queries/append_many.sql");
const REGISTER: &str = include_str!("../queries/register.sql");

/// One change that is about to be appended.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    topic: &'a str,
    key: &'a str,
    payload: Option<Vec<u8>>,
    expected: Option<Version>,
    tenant: Option<&'a str>,
    force: bool,
    event: Uuid,
}

impl<'a> Append<'a> {
    /// The entity's new state.
    pub fn upsert<T: Serialize>(topic: &'a str, key: &'a str, value: &T) -> Result<Self, Error> {
        let payload = serde_json::to_vec(value)
            .map_err(|source| Error::Payload { key: key.to_owned(), source })?;
        Ok(Self { payload: Some(payload), ..Self::delete(topic, key) })
    }

    /// The entity's end.
    pub fn delete(topic: &'a str, key: &'a str) -> Self {
        Self {
            topic,
            key,
            payload: None,
            expected: None,
            tenant: None,
            force: false,
            event: Uuid::now_v7(),
        }
    }

    /// Only if the entity is at this version; 0 is absent or deleted.
    #[must_use]
    pub const fn expecting(mut self, version: Version) -> Self {
        self.expected = Some(version);
        self
    }

    /// Even if the payload is equal to the current one.
    #[must_use]
    pub const fn forced(mut self) -> Self {
        self.force = true;
        self
    }

    /// Whose it is, where one installation serves several.
    #[must_use]
    pub const fn of_tenant(mut self, tenant: &'a str) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// The entity's topic.
    pub const fn topic(&self) -> &'a str {
        self.topic
    }

    /// The entity's key.
    pub const fn key(&self) -> &'a str {
        self.key
    }

    /// The payload exactly as it will be published; none for a delete.
    pub fn payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    pub(crate) fn span(&self) -> Span {
        tracing::info_span!("outbox.append", topic = self.topic, key = self.key)
    }

    pub(crate) async fn prepare(&self, client: &ClientWrapper) -> Result<Statement, Error> {
        client.prepare_cached(APPEND).await.map_err(Error::Database)
    }

    pub(crate) async fn send(
        &self,
        client: &ClientWrapper,
        statement: &Statement,
    ) -> Result<Row, tokio_postgres::Error> {
        self.send_with(client, statement, &[]).await
    }

    /// Runs a statement whose first parameters are those of `outbox.append`.
    async fn send_with(
        &self,
        client: &ClientWrapper,
        statement: &Statement,
        more: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, tokio_postgres::Error> {
        let op = if self.payload.is_some() { Operation::Upsert } else { Operation::Delete };
        let expected = self.expected.map(Version::get);
        let trace = bus::trace::current();
        let trace = trace.as_ref().map(contracts::TraceContext::as_str);
        let op = op.as_str();
        let own: [&(dyn ToSql + Sync); 9] = [
            &self.topic,
            &self.key,
            &op,
            &self.payload,
            &expected,
            &self.event,
            &trace,
            &self.tenant,
            &self.force,
        ];
        client.query_one(statement, &[&own, more].concat()).await
    }

    pub(crate) fn refusal(&self, source: tokio_postgres::Error) -> Error {
        Error::of_append(source, self.key, self.expected)
    }

    pub(crate) fn version(
        &self,
        appended: Result<Row, tokio_postgres::Error>,
    ) -> Result<Version, Error> {
        let row = appended.map_err(|source| self.refusal(source))?;
        version(row.try_get("version").map_err(Error::Database)?, self.key)
    }
}

/// Stores a record and appends its change, which does not depend on it, in one statement that is a
/// transaction of its own; answers its row.
///
/// The statement has the parameters of `outbox.append` as `$1` to `$9`, the record's after them,
/// and calls it once it has locked the record. An error that is [`Error::CommitUnknown`] leaves
/// open whether it happened.
pub async fn write(
    client: &ClientWrapper,
    sql: &str,
    record: &[&(dyn ToSql + Sync)],
    change: &Append<'_>,
) -> Result<Row, Error> {
    let statement = client.prepare_cached(sql).await.map_err(Error::Database)?;
    let written = change.send_with(client, &statement, record).instrument(change.span()).await;
    written.map_err(|source| Error::of_write(source, change.key, change.expected))
}

/// Appends the entity's new state; answers its version. An equal state appends nothing.
pub async fn append<T: Serialize + Sync>(
    tx: &Tx<'_>,
    topic: &str,
    key: &str,
    value: &T,
) -> Result<Version, Error> {
    tx.append(&Append::upsert(topic, key, value)?).await
}

/// Appends the entity's new state if it is at the expected version; 0 is absent or deleted.
pub async fn append_if<T: Serialize + Sync>(
    tx: &Tx<'_>,
    topic: &str,
    key: &str,
    value: &T,
    expected: Version,
) -> Result<Version, Error> {
    tx.append(&Append::upsert(topic, key, value)?.expecting(expected)).await
}

/// Appends the entity's end; answers the version of its tombstone, 0 if it never existed.
pub async fn delete(tx: &Tx<'_>, topic: &str, key: &str) -> Result<Version, Error> {
    tx.append(&Append::delete(topic, key)).await
}

/// Appends the entity's end if it is at the expected version.
pub async fn delete_if(
    tx: &Tx<'_>,
    topic: &str,
    key: &str,
    expected: Version,
) -> Result<Version, Error> {
    tx.append(&Append::delete(topic, key).expecting(expected)).await
}

/// Appends many entities of one topic in one statement; answers their versions in the order given.
///
/// Keys are locked in their order, so that two callers never wait for each other in a circle; what
/// is equal already is neither locked nor appended. At most 1,000 entities per transaction, lest
/// other writers wait long.
pub async fn append_many<T: Serialize + Sync>(
    tx: &Tx<'_>,
    topic: &str,
    entities: &[(&str, &T)],
) -> Result<Vec<Version>, Error> {
    let mut keys = Vec::with_capacity(entities.len());
    let mut payloads = Vec::with_capacity(entities.len());
    let mut events = Vec::with_capacity(entities.len());
    for (key, value) in entities {
        let payload = serde_json::to_vec(value)
            .map_err(|source| Error::Payload { key: (*key).to_owned(), source })?;
        keys.push(*key);
        payloads.push(Some(payload));
        events.push(Uuid::now_v7());
    }
    let statement = tx.client().prepare_cached(APPEND_MANY).await.map_err(Error::Database)?;
    let span = tracing::info_span!("outbox.append", topic, count = keys.len());
    let trace = span.in_scope(bus::trace::current);
    let trace = trace.as_ref().map(contracts::TraceContext::as_str);
    let appended = tx
        .within(tx.client().query_one(
            &statement,
            &[&topic, &keys, &payloads, &events, &trace, &None::<&str>, &false],
        ))
        .instrument(span)
        .await;
    // The database does not say which of the keys it refused.
    let row = appended.map_err(|e| Error::of_append(e, &format!("many to {topic}"), None))?;
    let versions: Vec<i64> = row.try_get("versions").map_err(Error::Database)?;
    versions.into_iter().zip(keys).map(|(raw, key)| version(raw, key)).collect()
}

/// Tells the outbox what a contract says of its topic; run by the owner when it migrates.
pub async fn register(client: &tokio_postgres::Client, contract: &Contract) -> Result<(), Error> {
    let (topic, lane) = (contract.topic.as_str(), contract.lane.as_str());
    client
        .execute(REGISTER, &[&topic, &lane, &contract.schema.version])
        .await
        .map(drop)
        .map_err(Error::Database)
}

fn version(raw: i64, key: &str) -> Result<Version, Error> {
    Version::try_from(raw)
        .map_err(|e| Error::Refused { key: key.to_owned(), reason: e.to_string() })
}
