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
        let rows =
            changes.iter().map(|change| (&change.key, change.entity.map(|_| change.version)));
        let rows: Vec<_> = rows.collect();
        store::write_products(tx, &rows).await.map_err(inbox::Error::consumer)
    }
}
