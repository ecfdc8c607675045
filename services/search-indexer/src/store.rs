//! Rows of schema `search` to parts and back; the only file here that runs SQL.

use std::collections::BTreeMap;

use contracts::{InvalidName, InvalidNumber, Key, Version};
use deadpool_postgres::{Client, Transaction};
use serde_json::{Map, Value};
use tokio_postgres::Row;

use crate::domain::{CategoryPart, Noted, Parts, ProductPart, Scalar};
use crate::index::CommitId;

/// The tables of this service, for `migrate`.
pub const MIGRATIONS: &[(&str, &str)] =
    &[("V1__search", include_str!("../migrations/V1__search.sql"))];

/// A row to write; no value means deleted.
#[derive(Debug)]
pub(crate) struct Written<'a, T> {
    /// The entity's key.
    pub(crate) key: &'a Key,
    /// Its version.
    pub(crate) version: Version,
    /// Its part.
    pub(crate) value: Option<T>,
}

/// The columns of a product.
#[derive(Debug)]
pub(crate) struct ProductRow<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// The ids of its categories.
    pub(crate) categories: &'a [Key],
    /// Its attributes as they came.
    pub(crate) attributes: &'a Map<String, Value>,
}

/// The columns of a category.
#[derive(Debug)]
pub(crate) struct CategoryRow<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// The category above it.
    pub(crate) parent: Option<&'a Key>,
}

/// Writes products, one row per key.
pub(crate) async fn write_products(
    tx: &Transaction<'_>,
    changes: &[Written<'_, ProductRow<'_>>],
) -> Result<(), Error> {
    let keys = column(changes, |change| change.key.as_str());
    let versions = column(changes, |change| change.version.get());
    let names = column(changes, |change| change.value.as_ref().map(|row| row.name));
    let categories = column(changes, |change| {
        let categories = change.value.as_ref().map_or(&[][..], |row| row.categories);
        Value::from_iter(categories.iter().map(Key::as_str))
    });
    let attributes = column(changes, |change| {
        Value::Object(change.value.as_ref().map(|row| row.attributes.clone()).unwrap_or_default())
    });
    let write = tx.prepare_cached(include_str!("../queries/write_products.sql")).await?;
    tx.execute(&write, &[&keys, &versions, &names, &categories, &attributes]).await?;
    Ok(())
}

/// Writes categories, one row per key.
pub(crate) async fn write_categories(
    tx: &Transaction<'_>,
    changes: &[Written<'_, CategoryRow<'_>>],
) -> Result<(), Error> {
    let keys = column(changes, |change| change.key.as_str());
    let versions = column(changes, |change| change.version.get());
    let names = column(changes, |change| change.value.as_ref().map(|row| row.name));
    let parents =
        column(changes, |change| change.value.as_ref().and_then(|row| row.parent).map(Key::as_str));
    let write = tx.prepare_cached(include_str!("../queries/write_categories.sql")).await?;
    tx.execute(&write, &[&keys, &versions, &names, &parents]).await?;
    Ok(())
}

fn column<'a, T, C>(
    changes: &'a [Written<'a, T>],
    cell: impl Fn(&'a Written<'a, T>) -> C,
) -> Vec<C> {
    changes.iter().map(cell).collect()
}

/// These categories and all below them.
pub(crate) async fn list_below(client: &Client, categories: &[&str]) -> Result<Vec<Key>, Error> {
    let list = client.prepare_cached(include_str!("../queries/list_below.sql")).await?;
    let rows = client.query(&list, &[&categories]).await?;
    rows.iter().map(|row| Ok(Key::parse(row.try_get("key")?)?)).collect()
}

/// The next products after `after` that name this category, in order.
pub(crate) async fn list_within(
    client: &Client,
    category: &Key,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Key>, Error> {
    let list = client.prepare_cached(include_str!("../queries/list_within.sql")).await?;
    let (after, limit) = (after.map_or("", Key::as_str), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = client.query(&list, &[&category.as_str(), &after, &limit]).await?;
    rows.iter().map(|row| Ok(Key::parse(row.try_get("product")?)?)).collect()
}

/// Every part of the documents with these keys, of one moment.
pub(crate) async fn read_parts(client: &Client, keys: &[String]) -> Result<Parts, Error> {
    let read = client.prepare_cached(include_str!("../queries/read_parts.sql")).await?;
    let mut parts = Parts::default();
    for row in client.query(&read, &[&keys]).await? {
        if row.try_get("is_product")? {
            parts.products.push(product(&row)?);
        } else {
            let (key, part) = category(&row)?;
            parts.categories.insert(key, part);
        }
    }
    Ok(parts)
}

fn product(row: &Row) -> Result<ProductPart, Error> {
    let categories: Vec<&str> = row.try_get("categories")?;
    let attributes: Value = row.try_get("attributes")?;
    Ok(ProductPart {
        sku: Key::parse(row.try_get("key")?)?,
        version: Version::try_from(row.try_get::<_, i64>("version")?)?,
        name: row.try_get("name")?,
        categories: categories.into_iter().map(Key::parse).collect::<Result<_, _>>()?,
        attributes: attributes.as_object().map(scalars).unwrap_or_default(),
    })
}

/// Values of a kind that does not exist yet are kept in the row and not shown.
fn scalars(attributes: &Map<String, Value>) -> BTreeMap<String, Scalar> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(Scalar::Text(text.clone())),
        Value::Number(number) => Some(Scalar::Number(number.to_string())),
        Value::Bool(flag) => Some(Scalar::Flag(*flag)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    attributes.iter().filter_map(|(name, value)| Some((name.clone(), scalar(value)?))).collect()
}

fn category(row: &Row) -> Result<(Key, CategoryPart), Error> {
    let parent: Option<&str> = row.try_get("parent")?;
    let part =
        CategoryPart { name: row.try_get("name")?, parent: parent.map(Key::parse).transpose()? };
    Ok((Key::parse(row.try_get("key")?)?, part))
}

/// The next keys after `after`, in order, while the index is rebuilt.
pub(crate) async fn list_products(
    client: &Client,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, Error> {
    let list = client.prepare_cached(include_str!("../queries/list_products.sql")).await?;
    let rows = client.query(&list, &[&after, &limit]).await?;
    Ok(rows.iter().map(|row| row.try_get("key")).collect::<Result<_, _>>()?)
}

/// How many products there are.
pub(crate) async fn count_products(client: &Client) -> Result<i64, Error> {
    let count = client.prepare_cached(include_str!("../queries/count_products.sql")).await?;
    Ok(client.query_one(&count, &[]).await?.try_get("products")?)
}

/// The commits under which the index may be trusted.
pub(crate) async fn read_commit(client: &Client) -> Result<Noted<CommitId>, Error> {
    let read = client.prepare_cached(include_str!("../queries/read_commit.sql")).await?;
    let row = client.query_one(&read, &[]).await?;
    Ok(Noted {
        current: row.try_get::<_, Option<_>>("current")?.map(CommitId),
        pending: row.try_get::<_, Option<_>>("pending")?.map(CommitId),
    })
}

/// Announces the commit that follows `held`; false if the database does not know `held`.
pub(crate) async fn announce_commit(
    client: &Client,
    held: CommitId,
    next: CommitId,
) -> Result<bool, Error> {
    let announce = client.prepare_cached(include_str!("../queries/announce_commit.sql")).await?;
    Ok(client.execute(&announce, &[&held.0, &next.0]).await? == 1)
}

/// Announces the commit that ends a rebuild.
pub(crate) async fn announce_rebuild(client: &Client, next: CommitId) -> Result<(), Error> {
    let announce = client.prepare_cached(include_str!("../queries/announce_rebuild.sql")).await?;
    client.execute(&announce, &[&next.0]).await?;
    Ok(())
}

/// Notes that the index made the announced commit; false if another one was announced meanwhile.
pub(crate) async fn note_commit(client: &Client, made: CommitId) -> Result<bool, Error> {
    let note = client.prepare_cached(include_str!("../queries/note_commit.sql")).await?;
    Ok(client.execute(&note, &[&made.0]).await? == 1)
}

/// What can go wrong with the rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or could not be reached.
    #[error("read or write schema search")]
    Database(#[from] tokio_postgres::Error),
    /// A row holds a key that no key may be.
    #[error("read a key of schema search")]
    Key(#[from] InvalidName),
    /// A row holds a version that no version may be.
    #[error("read a version of schema search")]
    Version(#[from] InvalidNumber),
}
