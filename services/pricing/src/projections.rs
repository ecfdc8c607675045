//! How pricing takes what the catalog publishes: it keeps which products there are.

use inbox::{Change, Projection, Transaction};
use serde::Deserialize;

use crate::store;

/// The copy of the products.
#[derive(Debug, Clone, Copy)]
pub struct Products;

/// What pricing wants of a product: that there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Product {}

impl Projection for Products {
    const TOPIC: &'static str = "catalog.products";
    type Entity = Product;

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        changes: &[Change<Product>],
    ) -> Result<(), inbox::Error> {
        let there = changes.iter().map(|change| (change.key.as_str(), change.entity.is_some()));
        let there: Vec<_> = there.collect();
        store::write_products(tx, &there).await.map_err(inbox::Error::consumer)
    }
}
