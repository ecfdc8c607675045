//! What a search document is made of, and when an index may be trusted.

mod money;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Utc};
use contracts::{Key, Version};

pub use self::money::{Amount, Currency, InvalidAmount};

/// A single value of a product's attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    Text(String),
    /// A number, written as JSON writes it, so that no digit is lost.
    Number(String),
    /// Yes or no.
    Flag(bool),
}

/// What search keeps of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProductPart {
    /// The product's SKU.
    pub(crate) sku: Key,
    /// The product's version.
    pub(crate) version: Version,
    /// What the product is called.
    pub(crate) name: String,
    /// The categories that the product names, in its order.
    pub(crate) categories: Vec<Key>,
    /// The product's attributes.
    pub(crate) attributes: BTreeMap<String, Scalar>,
    /// What it costs, if its price has arrived.
    pub(crate) price: Option<Price>,
    /// How much of it there is.
    pub(crate) availability: Availability,
}

/// What search keeps of a category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CategoryPart {
    /// What the category is called.
    pub(crate) name: String,
    /// The category above it.
    pub(crate) parent: Option<Key>,
}

/// All parts that a batch of documents is composed of, read at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The products that exist.
    pub(crate) products: Vec<ProductPart>,
    /// The categories that one of these products shows, as far as they have arrived.
    pub(crate) categories: BTreeMap<Key, CategoryPart>,
    /// The products that do not exist, and of which there is a price or stock all the same: these
    /// parts wait, since the product may follow.
    pub(crate) waiting: Vec<Key>,
}

/// What a product costs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// The price's version.
    pub version: Version,
    /// What its amounts are in.
    pub currency: Currency,
    /// The list price.
    pub amount: Amount,
    /// What holds, with the promotion that is in effect.
    pub effective: Amount,
    /// The promotion that is in effect.
    pub promotion: Option<String>,
    /// When the effective price or the promotion changes by itself.
    pub until: Option<DateTime<Utc>>,
}

/// How much of a product there is, over all locations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Availability {
    /// The sum of what is available.
    pub available: u64,
    /// In how many locations something is available.
    pub locations: u64,
    /// The version of the stock of each location.
    pub versions: BTreeMap<String, Version>,
}

impl Availability {
    /// Whether anything is available anywhere.
    pub const fn in_stock(&self) -> bool {
        self.available > 0
    }
}

/// A category as a document shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// The category's id.
    pub id: Key,
    /// Its name; none while its part has not arrived.
    pub name: Option<String>,
}

/// What the index holds of one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The product's SKU, by which the index knows the document.
    pub sku: Key,
    /// The product's version.
    pub version: Version,
    /// What the product is called.
    pub name: String,
    /// The categories that the product names.
    pub categories: Vec<Category>,
    /// The same categories with every category above them, each once.
    pub lineage: Vec<Category>,
    /// The product's attributes.
    pub attributes: BTreeMap<String, Scalar>,
    /// What it costs, if its price has arrived.
    pub price: Option<Price>,
    /// How much of it there is.
    pub availability: Availability,
}

/// Composes the document of a product. A category that has not arrived is shown by its id alone:
/// its arrival makes the document dirty, as that of a price or of stock does.
pub(crate) fn compose(product: ProductPart, categories: &BTreeMap<Key, CategoryPart>) -> Document {
    let show = |id: &Key| Category {
        id: id.clone(),
        name: categories.get(id).map(|category| category.name.clone()),
    };
    let named = distinct(&product.categories);
    Document {
        categories: named.iter().map(&show).collect(),
        lineage: lineage(named, categories).iter().map(&show).collect(),
        sku: product.sku,
        version: product.version,
        name: product.name,
        attributes: product.attributes,
        price: product.price,
        availability: product.availability,
    }
}

fn distinct(ids: &[Key]) -> Vec<Key> {
    let mut seen = BTreeSet::new();
    ids.iter().filter(|id| seen.insert(*id)).cloned().collect()
}

/// Parents may form a circle when two moves cross; every category is visited once.
fn lineage(named: Vec<Key>, categories: &BTreeMap<Key, CategoryPart>) -> Vec<Key> {
    let mut seen: BTreeSet<Key> = named.iter().cloned().collect();
    let mut found = Vec::new();
    let mut waiting = VecDeque::from(named);
    while let Some(id) = waiting.pop_front() {
        let parent = categories.get(&id).and_then(|category| category.parent.as_ref());
        if let Some(parent) = parent.filter(|parent| seen.insert((*parent).clone())) {
            waiting.push_back(parent.clone());
        }
        found.push(id);
    }
    found
}

/// What the database says about the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted<Id> {
    /// The commit that the index was seen to make last.
    pub(crate) current: Option<Id>,
    /// The commit that was announced and whose end is not known.
    pub(crate) pending: Option<Id>,
}

impl<Id: PartialEq> Noted<Id> {
    /// Whether an index at commit `held` agrees with the database.
    ///
    /// It does at the noted commit, and at the announced one, which a crash may have left without
    /// its note: the keys that this commit wrote are still dirty then, since they are cleaned only
    /// after the note. Any other commit belongs to another past (one of the two was restored from a
    /// backup, or was somebody else's), and the index may hold what the database never held.
    pub(crate) fn trusts(&self, held: &Id) -> bool {
        [&self.current, &self.pending].into_iter().flatten().any(|noted| noted == held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(raw: &str) -> Key {
        Key::parse(raw).unwrap()
    }

    fn category(name: &str, parent: Option<&str>) -> CategoryPart {
        CategoryPart { name: name.to_owned(), parent: parent.map(key) }
    }

    fn product(categories: &[&str]) -> ProductPart {
        ProductPart {
            sku: key("MH01"),
            version: Version::try_from(3).unwrap(),
            name: "Hoodie".to_owned(),
            categories: categories.iter().map(|id| key(id)).collect(),
            attributes: BTreeMap::from([("size".to_owned(), Scalar::Text("XS".to_owned()))]),
            price: None,
            availability: Availability::default(),
        }
    }

    fn ids(categories: &[Category]) -> Vec<&str> {
        categories.iter().map(|category| category.id.as_str()).collect()
    }

    #[test]
    fn a_document_shows_its_categories_and_is_found_under_those_above() {
        let categories = BTreeMap::from([
            (key("men"), category("Men", None)),
            (key("tops"), category("Tops", Some("men"))),
            (key("eco"), category("Eco", None)),
        ]);
        let document = compose(product(&["tops", "eco", "tops"]), &categories);
        assert_eq!(ids(&document.categories), ["tops", "eco"]);
        assert_eq!(ids(&document.lineage), ["tops", "eco", "men"]);
        assert_eq!(document.categories[0].name.as_deref(), Some("Tops"));
        assert_eq!(document.version.get(), 3);
    }

    #[test]
    fn a_category_that_has_not_arrived_is_shown_by_its_id() {
        let document = compose(product(&["later"]), &BTreeMap::new());
        assert_eq!(document.categories, [Category { id: key("later"), name: None }]);
    }

    #[test]
    fn parents_in_a_circle_are_each_visited_once() {
        let categories = BTreeMap::from([
            (key("a"), category("A", Some("b"))),
            (key("b"), category("B", Some("a"))),
            (key("self"), category("Self", Some("self"))),
        ]);
        let document = compose(product(&["a", "self"]), &categories);
        assert_eq!(ids(&document.lineage), ["a", "self", "b"]);
    }

    #[test]
    fn an_index_is_trusted_at_the_noted_and_at_the_announced_commit_only() {
        let noted = Noted { current: Some(1), pending: Some(2) };
        assert!(noted.trusts(&1) && noted.trusts(&2) && !noted.trusts(&3));
        let fresh = Noted { current: None, pending: None };
        assert!(!fresh.trusts(&1));
    }
}
