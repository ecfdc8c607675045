//! Rows to domain and back; the only file that runs SQL.

use std::collections::BTreeSet;

use contracts::Id;
use deadpool_postgres::ClientWrapper;
use outbox::{Append, Tx};
use records::{Answer, Demands, Error, Save, write};
use tokio_postgres::types::{Json, ToSql};

use crate::{
    domain::{Category, Product},
    payload::{CategoryPayload, ProductPayload, attributes},
};

const WRITE_PRODUCT: &str = include_str!("../queries/write_product.sql");
const WRITE_CATEGORY: &str = include_str!("../queries/write_category.sql");
const ERASE_PRODUCT: &str = include_str!("../queries/erase_product.sql");
const ERASE_CATEGORY: &str = include_str!("../queries/erase_category.sql");
const SAVE_PRODUCT: &str = include_str!("../queries/save_product.sql");
const SAVE_CATEGORY: &str = include_str!("../queries/save_category.sql");
const DELETE_PRODUCT: &str = include_str!("../queries/delete_product.sql");
const DELETE_CATEGORY: &str = include_str!("../queries/delete_category.sql");
const IMPORT_PRODUCTS: &str = include_str!("../queries/import_products.sql");
const IMPORT_CATEGORIES: &str = include_str!("../queries/import_categories.sql");

pub(crate) async fn put_product(
    client: &ClientWrapper,
    product: &Product,
    change: Append<'_>,
    demands: &Demands,
) -> Result<Answer, Error> {
    let name = product.name.as_str();
    let categories: Vec<&str> = product.categories.iter().map(Id::as_str).collect();
    let attributes = Json(attributes(product));
    let record: [&(dyn ToSql + Sync); 3] = [&name, &categories, &attributes];
    let (at_once, alone) = (WRITE_PRODUCT, SAVE_PRODUCT);
    write(client, Save { what: "product", at_once, alone, record: &record }, change, demands).await
}

pub(crate) async fn put_category(
    client: &ClientWrapper,
    category: &Category,
    change: Append<'_>,
    demands: &Demands,
) -> Result<Answer, Error> {
    let name = category.name.as_str();
    let parent = category.parent.as_ref().map(Id::as_str);
    let record: [&(dyn ToSql + Sync); 2] = [&name, &parent];
    let (at_once, alone) = (WRITE_CATEGORY, SAVE_CATEGORY);
    write(client, Save { what: "category", at_once, alone, record: &record }, change, demands).await
}

pub(crate) async fn delete_product(
    client: &ClientWrapper,
    change: Append<'_>,
    demands: &Demands,
) -> Result<Answer, Error> {
    let (at_once, alone) = (ERASE_PRODUCT, DELETE_PRODUCT);
    write(client, Save { what: "product", at_once, alone, record: &[] }, change, demands).await
}

pub(crate) async fn delete_category(
    client: &ClientWrapper,
    change: Append<'_>,
    demands: &Demands,
) -> Result<Answer, Error> {
    let (at_once, alone) = (ERASE_CATEGORY, DELETE_CATEGORY);
    write(client, Save { what: "category", at_once, alone, record: &[] }, change, demands).await
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
