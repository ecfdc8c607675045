//! What a consumer may ask its inbox that keeps values elsewhere, in a cache for example: which
//! versions were heard of, which records are set aside, and from which past all of it comes.

use contracts::Version;
use deadpool_postgres::Pool;

use crate::Error;
use crate::store::fresh;

/// The name of one record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: String,
}

/// What the inbox holds of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The record.
    pub record: Record,
    /// The newest version that was applied; none of a record that is no longer, nor of one that was
    /// never heard of.
    pub version: Option<Version>,
    /// Whether a newer state may be set aside.
    pub has_open_case: bool,
}

/// The newest version of each of these records, in any order.
pub async fn held(pool: &Pool, records: &[Record]) -> Result<Vec<Held>, Error> {
    fresh::read_held(&pool.get().await?, records).await
}

/// Those of these records of which a case is open, or of a record whose key begins with theirs and
/// a slash.
pub async fn set_aside(pool: &Pool, records: &[Record]) -> Result<Vec<Record>, Error> {
    fresh::read_open_cases(&pool.get().await?, records).await
}

/// From which past the copies of these topics come, as text of which only equality matters.
///
/// It is another one once sync shows another relay's term, while a copy is loaded and when it is
/// loaded, when numbers are lost, and when this database was restored from a dump or promoted. A
/// cold copy of its files that is started in its place is not recognised by itself, nor is a
/// promotion before its first checkpoint has ended; then positions, terms and clean moments alone
/// decide. What was read from a source under one past proves nothing under another.
pub async fn past(pool: &Pool, topics: &[&str]) -> Result<String, Error> {
    fresh::read_past(&pool.get().await?, topics).await
}
