//! The worker as the inbox calls it: dirty keys in, documents found.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use inbox::Sink;

use super::{Error, Indexer};
use crate::due::Due;
use crate::index::Index;
use crate::projections::SINK;
use crate::store;

/// How many documents of changed categories are taken into one batch: few enough that a product
/// that changes meanwhile is found in time.
const SHARE: usize = 500;

/// The worker as the inbox calls it.
#[derive(Debug)]
pub struct Worker<I>(pub Arc<Indexer<I>>);

impl<I: Index> Sink for Worker<I> {
    const NAME: &'static str = SINK;

    async fn clean(&self, keys: &[String]) -> Result<Vec<String>, inbox::Error> {
        let due: Result<Vec<Due>, _> = keys.iter().map(|key| Due::parse(key)).collect();
        let due = due.map_err(inbox::Error::consumer)?;
        let rest = self.work_off(&due).await.map_err(inbox::Error::consumer)?;
        Ok(rest.iter().map(Due::to_key).collect())
    }

    async fn rest(&self, _: usize, _: Duration) {
        self.0.rest().await;
    }

    async fn begin(&self) {
        self.0.begin().await;
    }

    fn end(&self) {
        self.0.end();
    }
}

impl<I: Index> Worker<I> {
    /// Brings up to date what is due, and answers what is due in its place: a category's documents
    /// are taken page by page.
    async fn work_off(&self, due: &[Due]) -> Result<Vec<Due>, Error> {
        let (mut keys, mut changed) = (BTreeSet::new(), Vec::new());
        for due in due {
            match due {
                Due::Document(key) => _ = keys.insert(key.clone()),
                Due::Below(category) => changed.push(category.as_str()),
                Due::Within(..) => {}
            }
        }
        let mut rest = Vec::new();
        if !changed.is_empty() {
            let below = store::list_below(&self.0.pool.get().await?, &changed).await?;
            rest.extend(below.into_iter().map(|category| Due::Within(category, None)));
        }
        let mut share = SHARE;
        for due in due {
            let Due::Within(category, after) = due else { continue };
            if share == 0 {
                rest.push(due.clone());
                continue;
            }
            let client = self.0.pool.get().await?;
            let page = store::list_within(&client, category, after.as_ref(), share).await?;
            if let Some(last) = page.last().filter(|_| page.len() == share) {
                rest.push(Due::Within(category.clone(), Some(last.clone())));
            }
            share -= page.len();
            keys.extend(page);
        }
        if !keys.is_empty() {
            self.0.update(&Vec::from_iter(keys)).await?;
        }
        Ok(rest)
    }
}
