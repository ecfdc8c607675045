//! What catalog publishes: the full state of a record, as its contract file describes it.

use std::collections::BTreeMap;

use contracts::Id;
use serde::Serialize;

use crate::domain::{Attribute, Category, Product};

/// Topic of products.
pub(crate) const PRODUCTS: &str = "catalog.products";
/// Topic of categories.
pub(crate) const CATEGORIES: &str = "catalog.categories";

/// A product as it travels.
#[derive(Debug, Serialize)]
pub(crate) struct ProductPayload<'a> {
    pub(crate) sku: &'a str,
    pub(crate) name: &'a str,
    pub(crate) categories: Vec<&'a str>,
    pub(crate) attributes: BTreeMap<&'a str, Scalar<'a>>,
}

/// A category as it travels.
#[derive(Debug, Serialize)]
pub(crate) struct CategoryPayload<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) parent: Option<&'a str>,
}

/// The value of an attribute as it travels.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Scalar<'a> {
    Text(&'a str),
    Integer(i64),
    Decimal(f64),
    Flag(bool),
}

impl<'a> From<&'a Attribute> for Scalar<'a> {
    fn from(value: &'a Attribute) -> Self {
        match value {
            Attribute::Text(text) => Self::Text(text),
            Attribute::Integer(number) => Self::Integer(*number),
            Attribute::Decimal(number) => Self::Decimal(*number),
            Attribute::Flag(flag) => Self::Flag(*flag),
        }
    }
}

/// The attributes in the order of their names, so that equal products have equal bytes.
pub(crate) fn attributes(product: &Product) -> BTreeMap<&str, Scalar<'_>> {
    product.attributes.iter().map(|(name, value)| (name.as_str(), value.into())).collect()
}

impl<'a> From<&'a Product> for ProductPayload<'a> {
    fn from(product: &'a Product) -> Self {
        Self {
            sku: product.sku.as_str(),
            name: product.name.as_str(),
            categories: product.categories.iter().map(Id::as_str).collect(),
            attributes: attributes(product),
        }
    }
}

impl<'a> From<&'a Category> for CategoryPayload<'a> {
    fn from(category: &'a Category) -> Self {
        Self {
            id: category.id.as_str(),
            name: category.name.as_str(),
            parent: category.parent.as_ref().map(Id::as_str),
        }
    }
}
