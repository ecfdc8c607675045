//! Rows of a copy, a thousand at a time, made before the clock runs.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;

/// Keys of the copy.
pub(super) const KEYS: i32 = 100_000;
/// Rows in a statement.
const BATCH: i32 = 1_000;

/// A batch, as the statement takes it: a list for each column.
#[derive(Debug, Default)]
pub(super) struct Rows {
    keys: Vec<String>,
    versions: Vec<i64>,
    names: Vec<String>,
    categories: Vec<String>,
    minors: Vec<i64>,
    currencies: Vec<&'static str>,
    stocks: Vec<i32>,
    actives: Vec<bool>,
    changed: Vec<DateTime<Utc>>,
}

impl Rows {
    /// Batches that have each key once, strewn over the table and sorted within the batch, as a
    /// consumer sorts them.
    pub(super) fn all() -> Vec<Self> {
        let count = KEYS / BATCH;
        (0..count).map(|batch| Self::of((0..BATCH).map(|row| row * count + batch))).collect()
    }

    fn of(numbers: impl Iterator<Item = i32>) -> Self {
        let now = Utc::now();
        let mut rows = Self::default();
        for number in numbers {
            rows.keys.push(format!("key-{number:06}"));
            rows.names.push(format!("The product with number {number}, and what is said of it"));
            rows.categories.push(format!("category-{}", number % 100));
            rows.minors.push(i64::from(number) * 7);
            rows.currencies.push("EUR");
            rows.stocks.push(number % 1_000);
            rows.actives.push(number % 10 != 0);
            rows.changed.push(now);
        }
        rows.renew();
        rows
    }

    /// Makes the rows newer than any that was written before, in this run or in another.
    pub(super) fn renew(&mut self) {
        self.versions = vec![Utc::now().timestamp_micros(); self.keys.len()];
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> u64 {
        self.keys.len() as u64
    }

    /// In the order of the statement's parameters.
    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.keys,
            &self.versions,
            &self.names,
            &self.categories,
            &self.minors,
            &self.currencies,
            &self.stocks,
            &self.actives,
            &self.changed,
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn batches_have_each_key_once_and_in_order() {
        let batches = Rows::all();
        assert!(batches.iter().all(|rows| rows.count() == 1_000 && rows.keys.is_sorted()));
        let keys: BTreeSet<&String> = batches.iter().flat_map(|rows| &rows.keys).collect();
        assert_eq!(keys.len(), 100_000);
        assert_eq!(keys.last().map(|key| key.as_str()), Some("key-099999"));
    }

    #[test]
    fn a_renewed_batch_is_newer() {
        let mut rows = Rows::of(0..2);
        let before = rows.versions.clone();
        let began = std::time::Instant::now();
        while rows.versions == before && began.elapsed().as_secs() < 5 {
            rows.renew();
        }
        assert!(rows.versions > before && rows.versions.len() == 2);
    }
}
