//! What the gateway hears of: it keeps no copies, and marks what its cached views show of a change.

use deadpool_postgres::Pool;
use inbox::{Change, Dirty, Projection, Record, Sink, Transaction};
use serde::de::IgnoredAny;

use crate::store;
use crate::view::{Shelf, name_of};

/// The name under which the parts of cached views are marked dirty.
pub(crate) const SINK: &str = "cache";

/// The topics whose records are parts of views.
pub(crate) const TOPICS: [&str; 3] = [Products::TOPIC, Prices::TOPIC, Stock::TOPIC];

/// What is heard of products.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Products;

/// What is heard of prices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prices;

/// What is heard of stock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stock;

impl Projection for Products {
    const TOPIC: &'static str = "catalog.products";
    type Entity = IgnoredAny;

    async fn apply(
        &self,
        _: &Transaction<'_>,
        _: &[Change<IgnoredAny>],
    ) -> Result<(), inbox::Error> {
        Ok(())
    }

    async fn dirty(
        &self,
        _: &Transaction<'_>,
        changes: &[Change<IgnoredAny>],
    ) -> Result<Vec<Dirty>, inbox::Error> {
        Ok(marks(Self::TOPIC, changes))
    }
}

impl Projection for Prices {
    const TOPIC: &'static str = "pricing.prices";
    type Entity = IgnoredAny;

    async fn apply(
        &self,
        _: &Transaction<'_>,
        _: &[Change<IgnoredAny>],
    ) -> Result<(), inbox::Error> {
        Ok(())
    }

    async fn dirty(
        &self,
        _: &Transaction<'_>,
        changes: &[Change<IgnoredAny>],
    ) -> Result<Vec<Dirty>, inbox::Error> {
        Ok(marks(Self::TOPIC, changes))
    }
}

impl Projection for Stock {
    const TOPIC: &'static str = "warehouse.stock";
    type Entity = IgnoredAny;

    async fn apply(
        &self,
        _: &Transaction<'_>,
        _: &[Change<IgnoredAny>],
    ) -> Result<(), inbox::Error> {
        Ok(())
    }

    async fn dirty(
        &self,
        _: &Transaction<'_>,
        changes: &[Change<IgnoredAny>],
    ) -> Result<Vec<Dirty>, inbox::Error> {
        Ok(marks(Self::TOPIC, changes))
    }
}

fn marks(topic: &str, changes: &[Change<IgnoredAny>]) -> Vec<Dirty> {
    let mark = |change: &Change<_>| change.marks(SINK, format!("{topic}:{}", change.key));
    changes.iter().map(mark).collect()
}

/// Ends the cached views that show an older state of what was marked.
#[derive(Debug)]
pub(crate) struct Invalidation {
    pool: Pool,
    shelf: Shelf,
}

impl Invalidation {
    pub(crate) fn new(pool: Pool, shelf: Shelf) -> Self {
        Self { pool, shelf }
    }
}

impl Sink for Invalidation {
    const NAME: &'static str = SINK;

    /// The namespace is read each time: one that was drawn by another process is emptied here too,
    /// and what is filled into one that is drawn later was read from the owners later than this.
    async fn clean(&self, keys: &[String]) -> Result<Vec<String>, inbox::Error> {
        let records: Vec<_> = keys.iter().filter_map(|key| record(key)).collect();
        let namespace = store::read_namespace(&self.pool).await.map_err(inbox::Error::consumer)?;
        let held = inbox::held(&self.pool, &records).await?;
        let parts = held.iter().filter_map(|held| {
            let (sku, part) = name_of(&held.record)?;
            // No version tells a record that is set aside, nor one that is no longer.
            let version = held.version.filter(|_| !held.has_open_case);
            Some((sku, part, version))
        });
        let done = self.shelf.end(namespace.id, parts).await;
        done.map_err(inbox::Error::consumer)?;
        Ok(Vec::new())
    }
}

fn record(key: &str) -> Option<Record> {
    let (topic, key) = key.split_once(':')?;
    Some(Record { topic: topic.to_owned(), key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dirty_key_names_topic_and_record() {
        let record = record("warehouse.stock:MH01/store-1").unwrap();
        assert_eq!((&*record.topic, &*record.key), ("warehouse.stock", "MH01/store-1"));
        let (sku, part) = name_of(&record).unwrap();
        assert_eq!((sku.as_str(), part.as_str()), ("MH01", "stock/store-1"));
    }
}
