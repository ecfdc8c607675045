//! Where composed views are kept: the cache, as views use it. It fails towards the owners: whatever
//! goes wrong with it, a view is read without it.

use std::sync::Arc;
use std::time::Duration;

use cache::{Cache, Invalidation, Key, Lease, Look, Version};
use contracts::Id;
use service_kit::chain;
use uuid::Uuid;

use super::Fill;
use super::parts::Parts;

/// The form in which views are kept; with another one those that lie there are not found.
const KIND: &str = "product-view-1";

/// The cache of composed views.
#[derive(Debug, Clone)]
pub(crate) struct Shelf(Cache);

/// What lies there.
#[derive(Debug)]
pub(crate) enum Found {
    /// A view that every invalidation has spared.
    Hit(Kept),
    /// None, perhaps an older one; and the right to put one there.
    Miss(Lease, Option<Kept>),
    /// A current one that nobody understands.
    Unreadable,
    /// The cache does not answer.
    Nothing,
}

/// A view that was kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) parts: Arc<Parts>,
    /// Since it was read.
    pub(crate) age: Duration,
}

impl Shelf {
    pub(crate) fn new(cache: Cache) -> Self {
        Self(cache)
    }

    /// The name of a product's view.
    pub(crate) fn key(namespace: impl std::fmt::Display, sku: &Id) -> Key {
        Key::new(namespace, KIND, sku.as_str())
    }

    pub(crate) async fn look(&self, namespace: Uuid, sku: &Id) -> Found {
        let key = Self::key(namespace, sku);
        match self.look_once(&key).await {
            Found::Unreadable => {
                // It would lie in the way of every other until its time is over.
                let part = String::new();
                let end = Invalidation { key: key.clone(), part, version: None };
                match self.0.invalidate(&[end]).await {
                    Ok(_) => self.look_once(&key).await,
                    Err(_) => Found::Nothing,
                }
            }
            found => found,
        }
    }

    async fn look_once(&self, key: &Key) -> Found {
        match self.0.look(key).await {
            Ok(Look::Hit(entry)) => kept(&entry).map_or(Found::Unreadable, Found::Hit),
            Ok(Look::Miss { lease, old }) => Found::Miss(lease, old.as_ref().and_then(kept)),
            Err(error) => {
                tracing::debug!(error = chain(&error), "a view is read without the cache");
                Found::Nothing
            }
        }
    }

    /// Puts a view there that was read after the lease was given.
    pub(crate) async fn fill(&self, lease: &Lease, parts: &Parts) -> Fill {
        let value = serde_json::to_vec(parts).expect("parts have text keys only");
        let filled = self.0.fill(lease, value.into(), &parts.vector(), parts.until()).await;
        match filled {
            Ok(cache::Fill::Stored) => Fill::Stored,
            Ok(cache::Fill::Refused) => Fill::NotStored,
            Err(error) => {
                tracing::debug!(error = chain(&error), "a view is not kept");
                Fill::NotStored
            }
        }
    }

    /// Ends the views that show an older version of these parts; all of them at once, or again.
    pub(crate) async fn end(
        &self,
        namespace: Uuid,
        parts: impl Iterator<Item = (Id, String, Option<Version>)>,
    ) -> Result<(), cache::Error> {
        let all = parts.map(|(sku, part, version)| {
            let key = Self::key(namespace, &sku);
            Invalidation { key, part, version }
        });
        self.0.invalidate(&Vec::from_iter(all)).await.map(drop)
    }
}

fn kept(entry: &cache::Entry) -> Option<Kept> {
    let parts = serde_json::from_slice(&entry.value);
    let parts = parts.inspect_err(|error| {
        tracing::error!(error = chain(error), "a view that was kept cannot be read");
    });
    Some(Kept { parts: Arc::new(parts.ok()?), age: entry.age })
}
