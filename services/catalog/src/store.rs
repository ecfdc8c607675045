//! Rows to domain and back; the only file that runs SQL.

use std::collections::BTreeSet;

use contracts::Id;
use outbox::{Append, Tx};
use records::{Answer, Before, Demands, Error, Save, put};
use tokio_postgres::types::{Json, ToSql};

use crate::{
    domain::{Category, Product},
    payload::{CATEGORIES, CategoryPayload, PRODUCTS, ProductPayload, attributes},
};

const SAVE_PRODUCT: &str = include_str!("../queries/save_product.sql");
const SAVE_CATEGORY: &str = include_str!("../queries/save_category.sql");
const DELETE_PRODUCT: &str = include_str!("../queries/delete_product.sql");
const DELETE_CATEGORY: &str = include_str!("../queries/delete_category.sql");
const IMPORT_PRODUCTS: &str = include_str!("../queries/import_products.sql");
const IMPORT_CATEGORIES: &str = include_str!("../queries/import_categories.sql");

pub(crate) async fn put_product(
    tx: Tx<'_>,
    product: &Product,
    change: Append<'_>,
    demands: &Demands,
) -> Result<Answer, Error> {
    let (sku, name) = (product.sku.as_str(), product.name.as_str());
    let categories: Vec<&str> = product.categories.iter().map(Id::as_str).collect();
    let attributes = Json(attributes(product));
    let parameters: [&(dyn ToSql + Sync); 5] = [&sku, &name, &categories, &attributes, &PRODUCTS];
    put(tx, Save { sql: SAVE_PRODUCT, parameters: &parameters }, change, demands).await
}

pub(crate) async fn put_category(
    tx: Tx<'_>,
    category: &Category,
    change: Append<'_>,
    demands: &Demands,
) -> Result<Answer, Error> {
    let (id, name) = (category.id.as_str(), category.name.as_str());
    let parent = category.parent.as_ref().map(Id::as_str);
    let parameters: [&(dyn ToSql + Sync); 4] = [&id, &name, &parent, &CATEGORIES];
    put(tx, Save { sql: SAVE_CATEGORY, parameters: &parameters }, change, demands).await
}

pub(crate) async fn delete_product(tx: &Tx<'_>, sku: &Id) -> Result<Before, Error> {
    Before::of(&tx.query_one(DELETE_PRODUCT, &[&sku.as_str(), &PRODUCTS]).await?)
}

pub(crate) async fn delete_category(tx: &Tx<'_>, id: &Id) -> Result<Before, Error> {
    Before::of(&tx.query_one(DELETE_CATEGORY, &[&id.as_str(), &CATEGORIES]).await?)
}

/// Stores what is not equal already; answers its keys.
pub(crate) async fn import_products(
    tx: &Tx<'_>,
    products: &[ProductPayload<'_>],
) -> Result<BTreeSet<String>, Error> {
    let skus: Vec<&str> = products.iter().map(|product| product.sku).collect();
    let names: Vec<&str> = products.iter().map(|product| product.name).collect();
    // An array of arrays would need equal lengths; no id has a bar.
    let lists: Vec<String> = products.iter().map(|product| product.categories.join("|")).collect();
    let attributes: Vec<_> = products.iter().map(|product| Json(&product.attributes)).collect();
    import(tx, IMPORT_PRODUCTS, &[&skus, &names, &lists, &attributes]).await
}

/// Stores what is not equal already; answers its keys.
pub(crate) async fn import_categories(
    tx: &Tx<'_>,
    categories: &[CategoryPayload<'_>],
) -> Result<BTreeSet<String>, Error> {
    let ids: Vec<&str> = categories.iter().map(|category| category.id).collect();
    let names: Vec<&str> = categories.iter().map(|category| category.name).collect();
    let parents: Vec<Option<&str>> = categories.iter().map(|category| category.parent).collect();
    import(tx, IMPORT_CATEGORIES, &[&ids, &names, &parents]).await
}

async fn import(
    tx: &Tx<'_>,
    statement: &str,
    records: &[&(dyn ToSql + Sync)],
) -> Result<BTreeSet<String>, Error> {
    let rows = tx.query(statement, records).await?;
    rows.iter().map(|row| Ok(row.try_get("key")?)).collect()
}
