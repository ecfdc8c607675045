//! How search takes what catalog, pricing and warehouse publish: each topic writes its own part,
//! and marks the documents that the worker has to compose again.

use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use contracts::Key;
use inbox::{Change, Dirty, Projection, Transaction};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::domain::{Amount, Currency};
use crate::due::Due;
use crate::store::{self, CategoryRow, PriceRow, ProductRow, StockRow, Written};

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

/// The copy of the prices.
#[derive(Debug, Clone, Copy)]
pub struct Prices;

/// What search wants of a price; its contract requires every field, so none is filled in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ShownPrice {
    /// What its amounts are in.
    #[serde(deserialize_with = "parsed")]
    pub currency: Currency,
    /// The list price.
    #[serde(deserialize_with = "parsed")]
    pub amount: Amount,
    /// What holds, with the promotion that is in effect.
    #[serde(deserialize_with = "parsed")]
    pub effective: Amount,
    /// The promotion that is in effect.
    #[serde(deserialize_with = "Option::deserialize")]
    pub promotion: Option<String>,
    /// When the effective price or the promotion changes by itself.
    #[serde(deserialize_with = "Option::deserialize")]
    pub until: Option<DateTime<Utc>>,
}

impl Projection for Prices {
    const TOPIC: &'static str = "pricing.prices";
    type Entity = ShownPrice;

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        changes: &[Change<ShownPrice>],
    ) -> Result<(), inbox::Error> {
        let rows: Vec<_> = changes.iter().map(written).collect();
        store::write_prices(tx, &rows).await.map_err(inbox::Error::consumer)
    }

    async fn dirty(
        &self,
        _tx: &Transaction<'_>,
        changes: &[Change<ShownPrice>],
    ) -> Result<Vec<Dirty>, inbox::Error> {
        Ok(changes.iter().map(|change| change.marks(SINK, change.key.as_str())).collect())
    }
}

/// The copy of the stock.
#[derive(Debug, Clone, Copy)]
pub struct Stock;

/// What search wants of the stock of a product at a location; its contract requires it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ShownStock {
    /// What can still be promised to somebody.
    pub available: u32,
}

impl Projection for Stock {
    const TOPIC: &'static str = "warehouse.stock";
    type Entity = ShownStock;

    async fn apply(
        &self,
        tx: &Transaction<'_>,
        changes: &[Change<ShownStock>],
    ) -> Result<(), inbox::Error> {
        let rows = changes.iter().map(|change| {
            let (product, location) = place(&change.key);
            let available = change.entity.as_ref().map(|stock| stock.available);
            StockRow { product, location, version: change.version, available }
        });
        store::write_stock(tx, &rows.collect::<Vec<_>>()).await.map_err(inbox::Error::consumer)
    }

    /// One mark for the product, however many of its locations change.
    async fn dirty(
        &self,
        _tx: &Transaction<'_>,
        changes: &[Change<ShownStock>],
    ) -> Result<Vec<Dirty>, inbox::Error> {
        Ok(changes.iter().map(|change| change.marks(SINK, place(&change.key).0)).collect())
    }
}

/// Product and location of a stock's key, which alone is there when stock is deleted. A key without
/// both is taken for a product's, at a place without a name.
fn place(key: &Key) -> (&str, &str) {
    let named = |(product, location): &(&str, &str)| !product.is_empty() && !location.is_empty();
    key.as_str().split_once('/').filter(named).unwrap_or((key.as_str(), ""))
}

fn parsed<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
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

impl<'a> From<&'a ShownPrice> for PriceRow<'a> {
    fn from(price: &'a ShownPrice) -> Self {
        let ShownPrice { currency, amount, effective, promotion, until } = price;
        Self { currency, amount, effective, promotion: promotion.as_deref(), until: *until }
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

    #[test]
    fn an_amount_that_would_be_rounded_is_no_price() {
        let price = |amount: &str| {
            let text = format!(
                r#"{{"currency":"USD","amount":"59.00","effective":{amount},"promotion":null,
                    "until":null,"sku":"MH01"}}"#
            );
            serde_json::from_str::<ShownPrice>(&text)
        };
        assert_eq!(price(r#""47.20""#).unwrap().effective.to_string(), "47.20");
        for amount in ["47.2", r#""47.20001""#, r#""-1""#, r#""""#] {
            assert!(price(amount).is_err(), "{amount}");
        }
    }

    #[test]
    fn the_key_of_a_stock_names_product_and_location() {
        for (raw, expected) in [
            ("MH01/nyc", ("MH01", "nyc")),
            ("MH01/a/b", ("MH01", "a/b")),
            ("MH01", ("MH01", "")),
            ("MH01/", ("MH01/", "")),
            ("/nyc", ("/nyc", "")),
        ] {
            assert_eq!(place(&Key::parse(raw).unwrap()), expected);
        }
    }
}
