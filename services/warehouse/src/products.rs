//! Which products there are, as the catalog says: stock of any other waits for its product.

use inbox::{Change, Projection, Transaction};
use serde::Deserialize;

use crate::store;

/// The copy of the products, of which warehouse keeps the names only.
#[derive(Debug, Clone, Copy)]
pub struct Products;

/// What warehouse wants of a product: that there is one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Product {}

impl Projection for Products {
    const TOPIC: &'static str = "catalog.products";
    type Entity = Product;

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        changes: &[Change<Product>],
    ) -> Result<(), inbox::Error> {
        let there: Vec<_> =
            changes.iter().map(|change| (change.key.as_str(), change.entity.is_some())).collect();
        Ok(store::write_products(tx, &there).await?)
    }
}
