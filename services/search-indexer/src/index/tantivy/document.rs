//! A document as Tantivy stores it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tantivy::schema::document::TantivyDocument;

use super::schema::{Fields, indexed_words, stems};
use crate::domain::{Availability, Category, Document, Price, Scalar};
use crate::index::{Hit, HitAvailability, HitCategory, HitPrice};

/// Longer attribute values are text to be found, not values to be counted.
const FACET_CHARS_MAX: usize = 64;
/// Enough of a name to sort by; the SKU decides the rest.
const ORDER_CHARS_MAX: usize = 128;
/// The invariant of everything that is stored as JSON here.
const PLAIN: &str = "text, numbers and flags under text keys always are JSON";

/// One thing that a document is counted under, as JSON in the fast field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Facet {
    /// In this category or below it.
    Category(String, Option<String>),
    /// With this value of this attribute.
    Attribute(String, Value),
}

impl Fields {
    pub(super) fn document(&self, document: &Document) -> TantivyDocument {
        let mut stored = TantivyDocument::default();
        stored.add_text(self.key, document.sku.as_str());
        let (name, beside) = (indexed_words(&document.name), indexed_words(&beside(document)));
        stored.add_text(self.name, stems(&name).join(" "));
        stored.add_text(self.text, stems(&beside).join(" "));
        stored.add_text(self.words, [name, beside].concat().join(" "));
        for category in &document.lineage {
            stored.add_text(self.category, category.id.as_str());
        }
        for facet in facets(document) {
            stored.add_text(self.facet, serde_json::to_string(&facet).expect(PLAIN));
        }
        stored.add_text(self.order, order(document));
        if let Some(price) = &document.price {
            stored.add_u64(self.price, price.effective.parts());
            stored.add_u64(self.decimals, u64::from(price.effective.decimals()));
            stored.add_text(self.currency, price.currency.as_str());
        }
        stored.add_bool(self.in_stock, document.availability.in_stock());
        stored.add_bytes(self.body, &serde_json::to_vec(&hit(document)).expect(PLAIN));
        stored
    }
}

/// What a user may search for besides the name.
fn beside(document: &Document) -> String {
    let mut text = document.sku.to_string();
    for name in document.lineage.iter().filter_map(|category| category.name.as_deref()) {
        text.push(' ');
        text.push_str(name);
    }
    for value in document.attributes.values() {
        match value {
            Scalar::Text(value) | Scalar::Number(value) => {
                text.push(' ');
                text.push_str(value);
            }
            Scalar::Flag(_) => {}
        }
    }
    text
}

fn facets(document: &Document) -> Vec<Facet> {
    let categories = document
        .lineage
        .iter()
        .map(|category| Facet::Category(category.id.to_string(), category.name.clone()));
    let attributes = document.attributes.iter().filter_map(|(name, value)| {
        let short = match value {
            Scalar::Text(text) => text.chars().count() <= FACET_CHARS_MAX,
            Scalar::Number(_) | Scalar::Flag(_) => true,
        };
        short.then(|| Facet::Attribute(name.clone(), json(value)))
    });
    categories.chain(attributes).collect()
}

fn order(document: &Document) -> String {
    let name = document.name.to_lowercase();
    let mut order: String = name.chars().take(ORDER_CHARS_MAX).collect();
    order.push('\0');
    order.push_str(document.sku.as_str());
    order
}

fn hit(document: &Document) -> Hit {
    let category = |category: &Category| HitCategory {
        id: category.id.to_string(),
        name: category.name.clone(),
    };
    Hit {
        sku: document.sku.to_string(),
        name: document.name.clone(),
        categories: document.categories.iter().map(category).collect(),
        attributes: document
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), json(value)))
            .collect(),
        version: document.version,
        price: document.price.as_ref().map(HitPrice::from),
        availability: HitAvailability::from(&document.availability),
    }
}

impl From<&Price> for HitPrice {
    fn from(price: &Price) -> Self {
        Self {
            currency: price.currency.as_str().to_owned(),
            amount: price.amount.to_string(),
            effective: price.effective.to_string(),
            promotion: price.promotion.clone(),
            until: price.until,
            version: price.version,
        }
    }
}

impl From<&Availability> for HitAvailability {
    fn from(availability: &Availability) -> Self {
        Self {
            in_stock: availability.in_stock(),
            available: availability.available,
            locations: availability.locations,
            versions: availability.versions.clone(),
        }
    }
}

fn json(value: &Scalar) -> Value {
    match value {
        Scalar::Text(text) => Value::String(text.clone()),
        // A number was JSON when it came; what no longer reads as one is shown as it stands.
        Scalar::Number(text) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        Scalar::Flag(flag) => Value::Bool(*flag),
    }
}
