//! How search takes what the catalog publishes: each topic writes its own part, and marks the
//! documents that the worker has to compose again.

use contracts::Key;
use deadpool_postgres::Transaction;
use inbox::{Change, Dirty, Projection};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::due::Due;
use crate::store::{self, CategoryRow, ProductRow, Written};

/// The name under which documents are marked dirty.
pub(crate) const SINK: &str = "search";

/// The copy of the products.
#[derive(Debug, Clone, Copy)]
pub struct Products;

/// What search wants of a product; its contract requires every field, so none is filled in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Product {
    /// What it is called.
    pub name: String,
    /// The ids of its categories.
    pub categories: Vec<Key>,
    /// Text, numbers and flags by name; other values are kept and not shown.
    pub attributes: Map<String, Value>,
}

impl Projection for Products {
    const TOPIC: &'static str = "catalog.products";
    type Entity = Product;

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        changes: &[Change<Product>],
    ) -> Result<(), inbox::Error> {
        let rows: Vec<_> = changes.iter().map(written).collect();
        store::write_products(tx, &rows).await.map_err(inbox::Error::consumer)
    }

    async fn dirty(
        &self,
        _tx: &Transaction<'_>,
        changes: &[Change<Product>],
    ) -> Result<Vec<Dirty>, inbox::Error> {
        Ok(changes.iter().map(|change| change.marks(SINK, change.key.as_str())).collect())
    }
}

/// The copy of the categories.
#[derive(Debug, Clone, Copy)]
pub struct Categories;

/// What search wants of a category; its contract requires every field, so none is filled in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ShownCategory {
    /// What it is called.
    pub name: String,
    /// The category above it; serde alone would take a missing one for none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub parent: Option<Key>,
}

impl Projection for Categories {
    const TOPIC: &'static str = "catalog.categories";
    type Entity = ShownCategory;

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        changes: &[Change<ShownCategory>],
    ) -> Result<(), inbox::Error> {
        let rows: Vec<_> = changes.iter().map(written).collect();
        store::write_categories(tx, &rows).await.map_err(inbox::Error::consumer)
    }

    /// A document shows its categories and is found under those above them, so a change of one
    /// reaches the documents of all below, which the worker looks for: however many they are, this
    /// transaction marks one key. Since it looks after this commit, it misses none: whatever moves
    /// to or fro meanwhile has changed as well, and marks itself.
    async fn dirty(
        &self,
        _tx: &Transaction<'_>,
        changes: &[Change<ShownCategory>],
    ) -> Result<Vec<Dirty>, inbox::Error> {
        let below = |change: &Change<_>| Due::Below(change.key.clone()).to_key();
        Ok(changes.iter().map(|change| change.marks(SINK, below(change))).collect())
    }
}

fn written<'a, E, R: From<&'a E>>(change: &'a Change<E>) -> Written<'a, R> {
    let value = change.entity.as_ref().map(R::from);
    Written { key: &change.key, version: change.version, value }
}

impl<'a> From<&'a Product> for ProductRow<'a> {
    fn from(product: &'a Product) -> Self {
        let Product { name, categories, attributes } = product;
        Self { name, categories, attributes }
    }
}

impl<'a> From<&'a ShownCategory> for CategoryRow<'a> {
    fn from(category: &'a ShownCategory) -> Self {
        Self { name: &category.name, parent: category.parent.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_kinds_of_values_that_do_not_exist_yet_are_no_reason_to_refuse() {
        let product: Product = serde_json::from_str(
            r#"{"name":"Hoodie","categories":[],"attributes":{"size":"XS","sizes":["S"]},
                "brand":{"id":"x"}}"#,
        )
        .unwrap();
        assert_eq!(product.attributes.len(), 2);
        let category: ShownCategory =
            serde_json::from_str(r#"{"name":"Men","parent":null,"position":1}"#).unwrap();
        assert_eq!(category.parent, None);
    }
}
