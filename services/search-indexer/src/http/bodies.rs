//! Bodies of answers: a page of the index as JSON.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contracts::Version;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::cursor;
use crate::index::{Hit, HitAvailability, HitPrice, Page, PriceRange, Question, ValueCount};

/// A page of products, and figures on all that match.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answer {
    /// The products found, in order.
    items: Vec<Item>,
    /// How many products match altogether.
    total: u64,
    /// How many of them are in which category, and have which value.
    facets: Facets,
    /// Of those that have a price: the lowest and the highest in each currency.
    prices: Vec<PriceFacet>,
    /// How many of them are in stock.
    in_stock: u64,
    /// Send it as `after` to get the page that follows; null on the last.
    next: Option<String>,
}

/// A product found.
#[derive(Debug, Serialize, ToSchema)]
struct Item {
    sku: String,
    name: String,
    categories: Vec<ItemCategory>,
    /// Text, numbers and booleans by name.
    attributes: Map<String, Value>,
    /// The version of the product that was found, a decimal number.
    #[schema(value_type = String)]
    version: Version,
    /// Null until the price of the product has arrived.
    price: Option<ItemPrice>,
    availability: ItemAvailability,
}

/// What a product costs.
#[derive(Debug, Serialize, ToSchema)]
struct ItemPrice {
    /// Three letters of ISO 4217.
    currency: String,
    /// The list price, an exact decimal number.
    amount: String,
    /// What holds now: the list price, or less while a promotion is in effect.
    effective: String,
    /// The promotion that is in effect.
    promotion: Option<String>,
    /// When the effective price or the promotion changes by itself.
    until: Option<DateTime<Utc>>,
    /// The version of the price, a decimal number.
    #[schema(value_type = String)]
    version: Version,
}

/// How much of a product there is.
#[derive(Debug, Serialize, ToSchema)]
struct ItemAvailability {
    /// Whether anything is available.
    in_stock: bool,
    /// The sum over all locations of what is on hand and not reserved.
    available: u64,
    /// In how many locations something is available.
    locations: u64,
    /// The version of the stock at each location, a decimal number.
    #[schema(value_type = BTreeMap<String, String>)]
    versions: BTreeMap<String, Version>,
}

/// A category that a product names.
#[derive(Debug, Serialize, ToSchema)]
struct ItemCategory {
    id: String,
    /// Null until the category itself has arrived.
    name: Option<String>,
}

/// Counts over the whole result; of each facet the 50 most frequent values.
#[derive(Debug, Serialize, ToSchema)]
struct Facets {
    /// Products in a category or below it.
    category: Vec<CategoryFacet>,
    /// Products by the value of an attribute, under its name, for the 20 most frequent attributes.
    /// Text of more than 64 characters is found but not counted.
    attributes: BTreeMap<String, Vec<ValueFacet>>,
}

/// How many products are in a category or below it.
#[derive(Debug, Serialize, ToSchema)]
struct CategoryFacet {
    id: String,
    name: Option<String>,
    count: u64,
}

/// How many products have a value.
#[derive(Debug, Serialize, ToSchema)]
struct ValueFacet {
    /// Text, number or boolean.
    value: Value,
    count: u64,
}

/// The range of effective prices in one currency.
#[derive(Debug, Serialize, ToSchema)]
struct PriceFacet {
    /// Three letters of ISO 4217.
    currency: String,
    /// The lowest, an exact decimal number.
    min: String,
    /// The highest, an exact decimal number.
    max: String,
    /// Products with a price in this currency.
    count: u64,
}

/// The page as it is answered, with the cursor of the one that follows.
pub(super) fn answer(question: &Question, page: Page) -> Answer {
    let next = page.next.map(|place| cursor::encode(question, &place));
    let category = page.categories.into_iter().map(|found| CategoryFacet {
        id: found.category.id,
        name: found.category.name,
        count: found.count,
    });
    let attributes = page.attributes.into_iter().map(|(name, values)| {
        let value = |found: ValueCount| ValueFacet { value: found.value, count: found.count };
        (name, values.into_iter().map(value).collect())
    });
    Answer {
        items: page.hits.into_iter().map(Item::from).collect(),
        total: page.total,
        facets: Facets { category: category.collect(), attributes: attributes.collect() },
        prices: page.prices.into_iter().map(PriceFacet::from).collect(),
        in_stock: page.in_stock,
        next,
    }
}

impl From<Hit> for Item {
    fn from(hit: Hit) -> Self {
        let categories = hit.categories.into_iter();
        Self {
            sku: hit.sku,
            name: hit.name,
            categories: categories
                .map(|category| ItemCategory { id: category.id, name: category.name })
                .collect(),
            attributes: hit.attributes,
            version: hit.version,
            price: hit.price.map(ItemPrice::from),
            availability: ItemAvailability::from(hit.availability),
        }
    }
}

impl From<HitPrice> for ItemPrice {
    fn from(price: HitPrice) -> Self {
        let HitPrice { currency, amount, effective, promotion, until, version } = price;
        Self { currency, amount, effective, promotion, until, version }
    }
}

impl From<HitAvailability> for ItemAvailability {
    fn from(availability: HitAvailability) -> Self {
        let HitAvailability { in_stock, available, locations, versions } = availability;
        Self { in_stock, available, locations, versions }
    }
}

impl From<PriceRange> for PriceFacet {
    fn from(range: PriceRange) -> Self {
        let PriceRange { currency, min, max, count } = range;
        Self { currency, min: min.to_string(), max: max.to_string(), count }
    }
}
