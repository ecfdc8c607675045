//! The search index as the rest of the service sees it.
//!
//! A trait although Tantivy is its only implementation today: this is the border behind which a
//! search cluster (`OpenSearch`) follows for those who outgrow one machine, so nothing of Tantivy
//! may cross it, and everything is asynchronous as if the index were elsewhere.

mod tantivy;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future::Future;

use chrono::{DateTime, Utc};
use contracts::{Key, Version};
use uuid::Uuid;

use crate::domain::{Amount, Currency, Document};

pub use self::tantivy::Tantivy;
pub(crate) use self::tantivy::count_words;

/// Stores documents and finds them again.
///
/// One writer at a time calls `open`, `clear`, `write` and `commit`; anybody searches meanwhile
/// and sees the last commit.
pub trait Index: Send + Sync + 'static {
    /// Opens what is stored and answers its commit; none when nothing is, when it is damaged, or
    /// when it was written by another version of this program.
    fn open(&self) -> impl Future<Output = Result<Option<CommitId>, Error>> + Send;

    /// Forgets everything, whatever state it is in; searches fail until the next commit.
    fn clear(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes documents in place of the stored ones; not found before the next commit.
    fn write(&self, batch: Batch) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes everything written so far durable and found, and remembers `id` with it.
    fn commit(&self, id: CommitId) -> impl Future<Output = Result<(), Error>> + Send;

    /// Finds documents.
    fn search(&self, question: Question) -> impl Future<Output = Result<Page, Error>> + Send;

    /// How many documents can be found.
    fn documents(&self) -> u64;

    /// Into how many parts, written by different commits, a search looks.
    fn segments(&self) -> usize;
}

/// One state of the index, as the database notes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitId(pub Uuid);

/// What one turn changes.
#[derive(Debug, Default)]
pub struct Batch {
    /// The newest documents, one per key.
    pub documents: Vec<Document>,
    /// The keys that have no document any more.
    pub gone: Vec<Key>,
}

/// How results are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Best match first, then by key.
    Relevance,
    /// By name without regard to case, then by key.
    Name,
    /// The lowest effective price first, what has none last, then by key; currencies are not
    /// converted.
    Cheapest,
    /// The highest effective price first, what has none last, then by key.
    Dearest,
}

impl Sort {
    /// All orders, the default first.
    pub const ALL: [Self; 4] = [Self::Relevance, Self::Name, Self::Cheapest, Self::Dearest];

    /// The order's name in requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relevance => "relevance",
            Self::Name => "name",
            Self::Cheapest => "price",
            Self::Dearest => "-price",
        }
    }
}

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Question {
    /// The user's words; without any, everything.
    pub words: Option<String>,
    /// The category that results are in, or below.
    pub category: Option<Key>,
    /// The lowest effective price of results; given either bound, what has no price is no result.
    pub price_min: Option<Amount>,
    /// The highest effective price of results.
    pub price_max: Option<Amount>,
    /// The currency of the results' prices.
    pub currency: Option<Currency>,
    /// Whether any of the results is available.
    pub in_stock: Option<bool>,
    /// The order of the results.
    pub sort: Sort,
    /// The place of the last result that the user has seen.
    pub after: Option<Place>,
    /// How many results are wanted.
    pub limit: usize,
}

/// Where a result stands in the order of its question; smaller comes first.
///
/// It depends on the document and the question alone, so that it is the same in every state of the
/// index that holds this document unchanged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// How badly the document matches, or its price; 0 where the order does not ask.
    pub rank: u64,
    /// What decides between equal ranks; no two documents share it.
    pub tie: String,
}

/// A part of the results, and figures on all of them.
#[derive(Debug, Default)]
pub struct Page {
    /// The documents found, in order.
    pub hits: Vec<Hit>,
    /// How many documents match altogether.
    pub total: u64,
    /// How many of them are in each category.
    pub categories: Vec<CategoryCount>,
    /// How many of them have each value of each attribute.
    pub attributes: BTreeMap<String, Vec<ValueCount>>,
    /// The lowest and highest price of them all, in order of currencies.
    pub prices: Vec<PriceRange>,
    /// How many of them are in stock.
    pub in_stock: u64,
    /// The place of the last hit, if more follow.
    pub next: Option<Place>,
}

/// A document found.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Hit {
    /// The product's SKU.
    pub sku: String,
    /// What the product is called.
    pub name: String,
    /// The categories that the product names.
    pub categories: Vec<HitCategory>,
    /// The product's attributes.
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// The product's version.
    pub version: Version,
    /// What it costs, if its price has arrived.
    pub price: Option<HitPrice>,
    /// How much of it there is.
    pub availability: HitAvailability,
}

/// The price of a document found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HitPrice {
    /// What its amounts are in.
    pub currency: String,
    /// The list price.
    pub amount: String,
    /// What holds now.
    pub effective: String,
    /// The promotion that is in effect.
    pub promotion: Option<String>,
    /// When that changes by itself.
    pub until: Option<DateTime<Utc>>,
    /// The price's version.
    pub version: Version,
}

/// How much there is of a document found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HitAvailability {
    /// Whether anything is available.
    pub in_stock: bool,
    /// The sum over all locations.
    pub available: u64,
    /// In how many locations something is available.
    pub locations: u64,
    /// The version of the stock of each location.
    pub versions: BTreeMap<String, Version>,
}

/// A category of a document found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HitCategory {
    /// The category's id.
    pub id: String,
    /// Its name, if it has arrived.
    pub name: Option<String>,
}

/// How many results are in a category or below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryCount {
    /// The category.
    pub category: HitCategory,
    /// The number of results.
    pub count: u64,
}

/// How many results have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueCount {
    /// The value: text, number or bool.
    pub value: serde_json::Value,
    /// The number of results.
    pub count: u64,
}

/// The lowest and highest effective price of some results in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRange {
    /// The currency's code.
    pub currency: String,
    /// The lowest.
    pub min: Amount,
    /// The highest.
    pub max: Amount,
    /// The number of results with a price in this currency.
    pub count: u64,
}

/// What an index cannot do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing has been committed since the index was cleared or opened.
    #[error("search an index that is not open")]
    Closed,
    /// The index refused, or is damaged.
    #[error("{doing}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// Why it did not work.
        #[source]
        cause: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// An error of the implementation, with what it was doing.
    pub fn failed<E>(doing: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        move |cause| Self::Failed { doing, cause: cause.into() }
    }
}
