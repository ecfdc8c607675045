//! One use case = one function = one transaction: the record and its change together.

use contracts::Id;
use deadpool_postgres::ClientWrapper;
use outbox::{Append, Tx};
use records::{Answer, Demands, Error, Written, answered, finish};

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
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::save_product(&tx, product).await?;
    let payload = ProductPayload::from(product);
    let change = Append::upsert(PRODUCTS, product.sku.as_str(), &payload)?;
    finish(tx, change, &before, Written::default(), demands).await
}

/// Creates or replaces a category.
pub(crate) async fn put_category(
    client: &ClientWrapper,
    category: &Category,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::save_category(&tx, category).await?;
    let payload = CategoryPayload::from(category);
    let change = Append::upsert(CATEGORIES, category.id.as_str(), &payload)?;
    finish(tx, change, &before, Written::default(), demands).await
}

/// Deletes a product.
pub(crate) async fn delete_product(
    client: &ClientWrapper,
    sku: &Id,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::delete_product(&tx, sku).await?;
    if !before.existed {
        return Err(Error::Unknown { what: "product", key: sku.as_str().to_owned() });
    }
    finish(tx, Append::delete(PRODUCTS, sku.as_str()), &before, Written::default(), demands).await
}

/// Deletes a category; products that name it go on naming it.
pub(crate) async fn delete_category(
    client: &ClientWrapper,
    id: &Id,
    demands: &Demands,
) -> Result<Answer, Error> {
    let tx = Tx::begin(client);
    if let Some(answer) = answered(&tx, demands).await? {
        return Ok(answer);
    }
    let before = store::delete_category(&tx, id).await?;
    if !before.existed {
        return Err(Error::Unknown { what: "category", key: id.as_str().to_owned() });
    }
    finish(tx, Append::delete(CATEGORIES, id.as_str()), &before, Written::default(), demands).await
}
