//! Rows of schema `search` to parts and back; the only file here that runs SQL.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contracts::{InvalidName, InvalidNumber, Key, Version};
use deadpool_postgres::Client;
use inbox::Transaction;
use serde_json::{Map, Value};
use tokio_postgres::Row;

use crate::domain::{
    Amount, Availability, CategoryPart, Currency, Noted, Parts, Price, ProductPart, Scalar,
};
use crate::index::CommitId;

/// The tables of this service, for `migrate`.
pub const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__search", include_str!("../migrations/V1__search.sql")),
    ("V2__price_and_stock", include_str!("../migrations/V2__price_and_stock.sql")),
];

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

/// The columns of a price.
#[derive(Debug)]
pub(crate) struct PriceRow<'a> {
    /// What its amounts are in.
    pub(crate) currency: &'a Currency,
    /// The list price.
    pub(crate) amount: &'a Amount,
    /// What holds now.
    pub(crate) effective: &'a Amount,
    /// The promotion that is in effect.
    pub(crate) promotion: Option<&'a str>,
    /// When that changes by itself.
    pub(crate) until: Option<DateTime<Utc>>,
}

/// The stock of a product at a location.
#[derive(Debug)]
pub(crate) struct StockRow<'a> {
    /// The product's SKU.
    pub(crate) product: &'a str,
    /// The location's id.
    pub(crate) location: &'a str,
    /// The stock's version.
    pub(crate) version: Version,
    /// How much is available; none when the stock is deleted.
    pub(crate) available: Option<u32>,
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

/// Writes prices, one row per key.
pub(crate) async fn write_prices(
    tx: &Transaction<'_>,
    changes: &[Written<'_, PriceRow<'_>>],
) -> Result<(), Error> {
    let keys = column(changes, |change| change.key.as_str());
    let versions = column(changes, |change| change.version.get());
    let prices = column(changes, |change| change.value.as_ref());
    let currencies = column(&prices, |price| price.map(|row| row.currency.as_str()));
    let amounts = column(&prices, |price| price.map(|row| row.amount.to_string()));
    let effective = column(&prices, |price| price.map(|row| row.effective.to_string()));
    let promotions = column(&prices, |price| price.and_then(|row| row.promotion));
    let until = column(&prices, |price| price.and_then(|row| row.until));
    let write = tx.prepare_cached(include_str!("../queries/write_prices.sql")).await?;
    tx.execute(&write, &[&keys, &versions, &currencies, &amounts, &effective, &promotions, &until])
        .await?;
    Ok(())
}

/// Writes the stock of products, one row per product and location.
pub(crate) async fn write_stock(
    tx: &Transaction<'_>,
    changes: &[StockRow<'_>],
) -> Result<(), Error> {
    let products = column(changes, |row| row.product);
    let locations = column(changes, |row| row.location);
    let versions = column(changes, |row| row.version.get());
    let available = column(changes, |row| row.available.map(i64::from));
    let write = tx.prepare_cached(include_str!("../queries/write_stock.sql")).await?;
    tx.execute(&write, &[&products, &locations, &versions, &available]).await?;
    Ok(())
}

fn column<'a, T, C>(changes: &'a [T], cell: impl Fn(&'a T) -> C) -> Vec<C> {
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
        let key = Key::parse(row.try_get("key")?)?;
        if !row.try_get("is_document")? {
            parts.categories.insert(key, category(&row)?);
            continue;
        }
        let (price, availability) = (price(&row)?, availability(&row)?);
        if let Some(version) = version(&row, "version")? {
            let product = product(&row, key, version)?;
            parts.products.push(ProductPart { price, availability, ..product });
        } else if price.is_some() || !availability.versions.is_empty() {
            parts.waiting.push(key);
        }
    }
    Ok(parts)
}

fn product(row: &Row, sku: Key, version: Version) -> Result<ProductPart, Error> {
    let categories: Vec<&str> = row.try_get("categories")?;
    let attributes: Value = row.try_get("attributes")?;
    Ok(ProductPart {
        sku,
        version,
        name: row.try_get("name")?,
        categories: categories.into_iter().map(Key::parse).collect::<Result<_, _>>()?,
        attributes: attributes.as_object().map(scalars).unwrap_or_default(),
        price: None,
        availability: Availability::default(),
    })
}

fn version(row: &Row, column: &str) -> Result<Option<Version>, Error> {
    Ok(row.try_get::<_, Option<i64>>(column)?.map(Version::try_from).transpose()?)
}

fn price(row: &Row) -> Result<Option<Price>, Error> {
    let Some(version) = version(row, "price_version")? else { return Ok(None) };
    let amount = |column: &str| {
        let text: &str = row.try_get(column)?;
        text.parse::<Amount>().map_err(|_| Error::Money(text.to_owned()))
    };
    let currency: &str = row.try_get("currency")?;
    Ok(Some(Price {
        version,
        currency: currency.parse().map_err(|_| Error::Money(currency.to_owned()))?,
        amount: amount("amount")?,
        effective: amount("effective")?,
        promotion: row.try_get("promotion")?,
        until: row.try_get("until")?,
    }))
}

fn availability(row: &Row) -> Result<Availability, Error> {
    let locations: Option<Vec<String>> = row.try_get("locations")?;
    let versions: Option<Vec<i64>> = row.try_get("stock_versions")?;
    let versions = versions.unwrap_or_default().into_iter().map(Version::try_from);
    let versions = versions.collect::<Result<Vec<_>, _>>()?;
    let sum = |column: &str| -> Result<u64, Error> {
        let sum: Option<i64> = row.try_get(column)?;
        Ok(sum.map_or(0, i64::unsigned_abs))
    };
    Ok(Availability {
        available: sum("available")?,
        locations: sum("stocked")?,
        versions: locations.unwrap_or_default().into_iter().zip(versions).collect(),
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

fn category(row: &Row) -> Result<CategoryPart, Error> {
    let parent: Option<&str> = row.try_get("parent")?;
    let parent = parent.map(Key::parse).transpose()?;
    Ok(CategoryPart { name: row.try_get("name")?, parent })
}

/// Notes which of these products have parts that wait for them; the others have none, or have
/// arrived.
pub(crate) async fn note_waiting(
    client: &Client,
    products: &[String],
    waiting: &[String],
) -> Result<(), Error> {
    let note = client.prepare_cached(include_str!("../queries/note_waiting.sql")).await?;
    client.execute(&note, &[&products, &waiting]).await?;
    Ok(())
}

/// How many products are waited for.
pub(crate) async fn count_waiting(client: &Client) -> Result<i64, Error> {
    let count = client.prepare_cached(include_str!("../queries/count_waiting.sql")).await?;
    Ok(client.query_one(&count, &[]).await?.try_get("products")?)
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
    /// A row holds an amount or a currency that no price may have.
    #[error("read {0:?} of schema search as money")]
    Money(String),
}
