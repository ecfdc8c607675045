//! One use case = one function = one transaction: the record and its change together.

use std::collections::BTreeSet;

use contracts::Id;
use deadpool_postgres::ClientWrapper;
use outbox::{Append, Tx, append_many};
use records::{Answer, Demands, Error, Outcome, Reference};
use serde::Serialize;

use crate::{
    domain::{Category, Product},
    payload::{CATEGORIES, CategoryPayload, PRODUCTS, ProductPayload},
    store,
};

/// Creates or replaces a product.
pub(crate) async fn put_product(
    client: &ClientWrapper,
    product: &Product,
    demands: &Demands,
) -> Result<Answer, Error> {
    let payload = ProductPayload::from(product);
    let change = Append::upsert(PRODUCTS, product.sku.as_str(), &payload)?;
    store::put_product(client, product, change, demands).await
}

/// Creates or replaces a category.
pub(crate) async fn put_category(
    client: &ClientWrapper,
    category: &Category,
    demands: &Demands,
) -> Result<Answer, Error> {
    let payload = CategoryPayload::from(category);
    let change = Append::upsert(CATEGORIES, category.id.as_str(), &payload)?;
    store::put_category(client, category, change, demands).await
}

/// Deletes a product.
pub(crate) async fn delete_product(
    client: &ClientWrapper,
    sku: &Id,
    demands: &Demands,
) -> Result<Answer, Error> {
    store::delete_product(client, Append::delete(PRODUCTS, sku.as_str()), demands).await
}

/// Deletes a category; products that name it go on naming it.
pub(crate) async fn delete_category(
    client: &ClientWrapper,
    id: &Id,
    demands: &Demands,
) -> Result<Answer, Error> {
    store::delete_category(client, Append::delete(CATEGORIES, id.as_str()), demands).await
}

/// Creates or replaces many products, each of another SKU.
pub(crate) async fn import_products(
    tx: &Tx<'_>,
    products: &[Product],
) -> Result<Vec<Outcome>, Error> {
    let payloads: Vec<ProductPayload<'_>> = products.iter().map(ProductPayload::from).collect();
    let stored = store::import_products(tx, &payloads).await?;
    let keys = products.iter().map(|product| product.sku.as_str());
    append_stored(tx, PRODUCTS, &stored, keys.zip(&payloads)).await
}

/// Creates or replaces many categories, each of another id.
pub(crate) async fn import_categories(
    tx: &Tx<'_>,
    categories: &[Category],
) -> Result<Vec<Outcome>, Error> {
    let payloads: Vec<CategoryPayload<'_>> = categories.iter().map(CategoryPayload::from).collect();
    let stored = store::import_categories(tx, &payloads).await?;
    let keys = categories.iter().map(|category| category.id.as_str());
    append_stored(tx, CATEGORIES, &stored, keys.zip(&payloads)).await
}

/// Appends what was stored, and nothing of what was equal: without its lock, it may be another by
/// now.
async fn append_stored<'a, T: Serialize + Sync + 'a>(
    tx: &Tx<'_>,
    topic: &str,
    stored: &BTreeSet<String>,
    records: impl Iterator<Item = (&'a str, &'a T)>,
) -> Result<Vec<Outcome>, Error> {
    let (mut outcomes, mut changes) = (Vec::new(), Vec::new());
    for (key, payload) in records {
        if stored.contains(key) {
            changes.push((key, payload));
            outcomes.push(Outcome::Stored(Reference::Known));
        } else {
            outcomes.push(Outcome::Unchanged(Reference::Known));
        }
    }
    if !changes.is_empty() {
        append_many(tx, topic, &changes).await?;
    }
    Ok(outcomes)
}
