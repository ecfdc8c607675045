//! What every test here needs: an index folder, documents, and an index whose commits can fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use contracts::{Key, Version};
use search_indexer::{
    Availability, Batch, Category, CommitId, Document, Index, IndexError, Page, Price, Question,
    Scalar, Sort, Tantivy,
};

/// A key.
pub(crate) fn key(raw: &str) -> Key {
    Key::parse(raw).unwrap()
}

/// A document in these categories, of which the first is the one that the product names.
pub(crate) fn document(sku: &str, name: &str, lineage: &[(&str, &str)]) -> Document {
    let lineage: Vec<Category> = lineage
        .iter()
        .map(|(id, name)| Category { id: key(id), name: Some((*name).to_owned()) })
        .collect();
    Document {
        sku: key(sku),
        version: Version::try_from(1).unwrap(),
        name: name.to_owned(),
        categories: lineage.iter().take(1).cloned().collect(),
        lineage,
        attributes: BTreeMap::new(),
        price: None,
        availability: Availability::default(),
    }
}

/// The same document with a price in dollars, of which no promotion takes anything.
pub(crate) fn at(document: Document, amount: &str) -> Document {
    let amount = amount.parse().unwrap();
    let price = Price {
        version: Version::try_from(1).unwrap(),
        currency: "USD".parse().unwrap(),
        amount,
        effective: amount,
        promotion: None,
        until: None,
    };
    Document { price: Some(price), ..document }
}

/// The same document with so many available at one location.
pub(crate) fn available(document: Document, available: u64) -> Document {
    let versions = BTreeMap::from([("nyc".to_owned(), Version::try_from(1).unwrap())]);
    let locations = u64::from(available > 0);
    Document { availability: Availability { available, locations, versions }, ..document }
}

/// The same document with an attribute.
pub(crate) fn with(mut document: Document, name: &str, value: &str) -> Document {
    document.attributes.insert(name.to_owned(), Scalar::Text(value.to_owned()));
    document
}

/// A question for these words.
pub(crate) fn words(text: &str) -> Question {
    Question {
        words: Some(text.to_owned()),
        category: None,
        price_min: None,
        price_max: None,
        currency: None,
        in_stock: None,
        sort: Sort::Relevance,
        after: None,
        limit: 20,
    }
}

/// A question for everything.
pub(crate) fn everything() -> Question {
    Question { words: None, ..words("") }
}

/// The SKUs of a page.
pub(crate) fn skus(page: &Page) -> Vec<&str> {
    page.hits.iter().map(|hit| hit.sku.as_str()).collect()
}

/// Tantivy that counts how often it was cleared, and whose commits can get lost on the way back.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    inner: Tantivy,
    /// How often the index was made anew.
    pub(crate) clears: Arc<AtomicUsize>,
    /// How often it committed.
    pub(crate) commits: Arc<AtomicUsize>,
    /// How many documents its largest batch had.
    pub(crate) largest: Arc<AtomicUsize>,
    /// The next attempt to make it anew is refused.
    pub(crate) refuse_clear: Arc<AtomicBool>,
    /// The next commit is refused and nothing of it done.
    pub(crate) refuse_commit: Arc<AtomicBool>,
    /// The next commit is done, but its answer lost.
    pub(crate) lose_answer: Arc<AtomicBool>,
}

impl Watched {
    /// An index in this folder.
    pub(crate) fn new(folder: &std::path::Path) -> Self {
        Self {
            inner: Tantivy::new(folder),
            clears: Arc::default(),
            commits: Arc::default(),
            largest: Arc::default(),
            refuse_clear: Arc::default(),
            refuse_commit: Arc::default(),
            lose_answer: Arc::default(),
        }
    }

    /// How often the index was made anew.
    pub(crate) fn cleared(&self) -> usize {
        self.clears.load(Ordering::SeqCst)
    }

    /// How many documents its largest batch had.
    pub(crate) fn largest(&self) -> usize {
        self.largest.load(Ordering::SeqCst)
    }
}

impl Index for Watched {
    async fn open(&self) -> Result<Option<CommitId>, IndexError> {
        self.inner.open().await
    }

    async fn clear(&self) -> Result<(), IndexError> {
        if self.refuse_clear.swap(false, Ordering::SeqCst) {
            return Err(IndexError::failed("clear")("refused for the test"));
        }
        self.clears.fetch_add(1, Ordering::SeqCst);
        self.inner.clear().await
    }

    async fn write(&self, batch: Batch) -> Result<(), IndexError> {
        self.largest.fetch_max(batch.documents.len(), Ordering::SeqCst);
        self.inner.write(batch).await
    }

    async fn commit(&self, id: CommitId) -> Result<(), IndexError> {
        if self.refuse_commit.swap(false, Ordering::SeqCst) {
            return Err(IndexError::failed("commit")("refused for the test"));
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(id).await?;
        if self.lose_answer.swap(false, Ordering::SeqCst) {
            return Err(IndexError::failed("commit")("lost for the test"));
        }
        Ok(())
    }

    async fn search(&self, question: Question) -> Result<Page, IndexError> {
        self.inner.search(question).await
    }

    fn documents(&self) -> u64 {
        self.inner.documents()
    }

    fn segments(&self) -> usize {
        self.inner.segments()
    }
}
