//! The producer: saves products, and publishes an event of each once its transaction is durable.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use dapr::client::ApiTokenInterceptor;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, BulkPublishRequestEntry, PublishEventRequest,
};
use deadpool_postgres::Pool;
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_postgres::types::Json;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::{Change, PUBSUB, TOPIC};
use crate::clock::Moment;
use crate::source::pool;
use crate::workload::sku;

/// Connections to its database, and so the transactions at one time.
const CONNECTIONS: usize = 16;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
const JSON: &str = "application/json";

const SAVE: &str = include_str!("../../queries/plain_save.sql");
const SAVE_MANY: &str = include_str!("../../queries/plain_save_many.sql");
const DELETE: &str = include_str!("../../queries/plain_delete.sql");

/// What the producer saves of a product.
#[derive(Debug, Deserialize)]
struct Product<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    categories: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    attributes: &'a RawValue,
}

/// The owner of the products.
#[derive(Debug)]
pub struct Producer {
    pool: Pool,
    sidecar: DaprClient<InterceptedService<Channel, ApiTokenInterceptor>>,
}

impl Producer {
    /// Over the source's database, beside the sidecar with this gRPC port. Neither is asked yet.
    pub fn connect(database_url: &str, grpc_port: u16, api_token: &str) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(format!("http://127.0.0.1:{grpc_port}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(PUBLISH_TIMEOUT)
            .tcp_nodelay(true)
            .connect_lazy();
        let interceptor = ApiTokenInterceptor::new(Some(api_token.to_owned()));
        let sidecar = DaprClient::with_interceptor(channel, interceptor);
        Ok(Self { pool: pool(database_url, CONNECTIONS)?, sidecar })
    }

    /// Makes all its connections to the database, as a service that runs has them.
    pub async fn warm(&self) -> anyhow::Result<()> {
        try_join_all((0..CONNECTIONS).map(|_| self.pool.get())).await?;
        Ok(())
    }

    /// Saves a product and publishes it; answers when its commit was answered.
    pub async fn put(&self, seq: u64, key: u32, payload: &[u8]) -> anyhow::Result<Moment> {
        let saved = self.save(seq, key, payload, None).await?;
        saved.context("a save that expects nothing is never refused")
    }

    /// Saves a product that has this version and publishes it; none if it has another one, and
    /// then nothing happened.
    pub async fn replace(
        &self,
        seq: u64,
        key: u32,
        payload: &[u8],
        version: i64,
    ) -> anyhow::Result<Option<Moment>> {
        self.save(seq, key, payload, Some(version)).await
    }

    /// Saves different products in one transaction, numbered from `first`, and publishes each.
    pub async fn put_many(&self, first: u64, puts: &[(u32, Vec<u8>)]) -> anyhow::Result<Moment> {
        let payloads = puts.iter().map(|(_, payload)| raw(payload));
        let payloads = payloads.collect::<anyhow::Result<Vec<&RawValue>>>()?;
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(SAVE_MANY).await?;
        let rows = client.query(&statement, &[&Json(&payloads)]).await.context("saving many")?;
        let committed = Moment::now();
        drop(client);
        let saved = rows.iter().map(|row| Ok((row.try_get("sku")?, row.try_get("version")?)));
        let versions = saved.collect::<anyhow::Result<HashMap<String, i64>>>()?;
        let numbered = (first..).zip(puts.iter().zip(payloads));
        let changes = numbered.map(|(seq, ((key, _), product))| {
            let sku = sku(*key);
            let version = *versions.get(&sku).context("a product names another key")?;
            Ok(Change { seq, sku: sku.into(), version, product: Some(product) })
        });
        self.publish_many(&changes.collect::<anyhow::Result<Vec<_>>>()?).await?;
        Ok(committed)
    }

    /// Deletes a product and publishes that; none if it is not there, and then nothing happened.
    pub async fn delete(&self, seq: u64, key: u32) -> anyhow::Result<Option<Moment>> {
        let sku = sku(key);
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(DELETE).await?;
        let row = client.query_opt(&statement, &[&sku]).await.context("deleting a product")?;
        let committed = Moment::now();
        drop(client);
        let Some(row) = row else { return Ok(None) };
        let version = row.try_get("version")?;
        self.publish(&Change { seq, sku: sku.into(), version, product: None }).await?;
        Ok(Some(committed))
    }

    async fn save(
        &self,
        seq: u64,
        key: u32,
        payload: &[u8],
        expected: Option<i64>,
    ) -> anyhow::Result<Option<Moment>> {
        let (sku, product) = (sku(key), raw(payload)?);
        let Product { name, categories, attributes } = serde_json::from_str(product.get())?;
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(SAVE).await?;
        let attributes = Json(attributes);
        let row = client
            .query_opt(&statement, &[&sku, &name, &categories, &attributes, &expected])
            .await
            .context("saving a product")?;
        let committed = Moment::now();
        // Others may write while this one publishes.
        drop(client);
        let Some(row) = row else { return Ok(None) };
        let version = row.try_get("version")?;
        self.publish(&Change { seq, sku: sku.into(), version, product: Some(product) }).await?;
        Ok(Some(committed))
    }

    /// The sidecar makes a `CloudEvent` of it.
    async fn publish(&self, change: &Change<'_>) -> anyhow::Result<()> {
        let request = PublishEventRequest {
            pubsub_name: PUBSUB.to_owned(),
            topic: TOPIC.to_owned(),
            data: serde_json::to_vec(change)?,
            data_content_type: JSON.to_owned(),
            metadata: HashMap::new(),
        };
        let mut sidecar = self.sidecar.clone();
        sidecar.publish_event(request).await.context("publishing a change")?;
        Ok(())
    }

    /// One call to the sidecar, which still makes one message of each.
    async fn publish_many(&self, changes: &[Change<'_>]) -> anyhow::Result<()> {
        let entries = changes.iter().map(|change| {
            Ok(BulkPublishRequestEntry {
                entry_id: change.seq.to_string(),
                event: serde_json::to_vec(change)?,
                content_type: JSON.to_owned(),
                metadata: HashMap::new(),
            })
        });
        let request = BulkPublishRequest {
            pubsub_name: PUBSUB.to_owned(),
            topic: TOPIC.to_owned(),
            entries: entries.collect::<anyhow::Result<_>>()?,
            metadata: HashMap::new(),
        };
        let mut sidecar = self.sidecar.clone();
        sidecar.bulk_publish_event(request).await.context("publishing many changes")?;
        Ok(())
    }
}

fn raw(payload: &[u8]) -> anyhow::Result<&RawValue> {
    serde_json::from_slice(payload).context("a product is JSON")
}
