//! Bodies of answers: a page of the index as JSON, and what a refusal looks like.

use std::collections::BTreeMap;

use contracts::Version;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::cursor;
use crate::index::{Hit, Page, Question, ValueCount};

/// A page of products, and figures on all that match.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answer {
    /// The products found, in order.
    items: Vec<Item>,
    /// How many products match altogether.
    total: u64,
    /// How many of them are in which category, and have which value.
    facets: Facets,
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

/// A refusal, RFC 9457
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "describes the answer in the document only")]
pub(super) struct ProblemBody {
    /// Kind of problem, as a reference
    r#type: String,
    /// Kind of problem in a few words
    title: String,
    /// HTTP status
    status: u16,
    /// This occurrence
    detail: Option<String>,
    /// Kind of problem as one stable word
    code: String,
    /// The trace in which it happened
    trace_id: Option<String>,
    /// Parameters at fault, where one breaks a rule
    #[schema(required = false)]
    errors: Vec<FieldBody>,
}

/// One parameter at fault
#[derive(ToSchema)]
#[schema(as = FieldProblem)]
#[expect(dead_code, reason = "describes the answer in the document only")]
pub(super) struct FieldBody {
    /// JSON Pointer to the parameter
    pointer: String,
    /// The rule that it breaks, as one stable word
    code: String,
    /// The rule in words
    message: String,
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
        }
    }
}
