//! Which collection a file is for, from the names of its columns.

use anyhow::{Result, bail};
use clap::ValueEnum;

/// What can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Collection {
    /// SKU, name, categories, attributes.
    Products,
    /// Id, name, parent.
    Categories,
    /// SKU, currency, amount.
    Prices,
    /// Id, SKUs, percentage, periods.
    Promotions,
    /// SKU, location, quantity on hand.
    Stock,
    /// Id, name, address.
    Locations,
}

/// Columns that a file of the collection must have, and those that it may have.
struct Columns {
    collection: Collection,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const COLUMNS: [Columns; 6] = [
    Columns {
        collection: Collection::Products,
        required: &["sku", "name"],
        optional: &["categories", "attributes"],
    },
    Columns {
        collection: Collection::Categories,
        required: &["id", "name"],
        optional: &["parent"],
    },
    Columns {
        collection: Collection::Prices,
        required: &["sku", "currency", "amount"],
        optional: &[],
    },
    Columns {
        collection: Collection::Promotions,
        required: &["id", "percent_off", "periods"],
        optional: &["skus"],
    },
    Columns {
        collection: Collection::Stock,
        required: &["sku", "location", "on_hand"],
        optional: &[],
    },
    Columns {
        collection: Collection::Locations,
        required: &["id"],
        optional: &["name", "city", "region", "postcode"],
    },
];

impl Columns {
    /// The required ones that a file lacks.
    fn lacking(&self, given: &[String]) -> Vec<&'static str> {
        let required = self.required.iter().copied();
        required.filter(|name| !given.iter().any(|it| it == name)).collect()
    }

    /// Whether one of the file's columns is one of these; `attributes.color` is an attribute.
    fn knows(&self, given: &str) -> bool {
        let name = given.split('.').next().unwrap_or_default();
        self.required.contains(&given) || self.optional.contains(&name)
    }

    /// How many of the file's columns are of this collection alone or shared.
    fn known(&self, given: &[String]) -> usize {
        given.iter().filter(|it| self.knows(it)).count()
    }
}

/// The one collection that these columns fit.
pub(crate) fn guess(given: &[String]) -> Result<Collection> {
    let complete = || COLUMNS.iter().filter(|columns| columns.lacking(given).is_empty());
    // One that knows every column, else one whose required columns are there: what is too much is
    // then refused with the column's name.
    let exact: Vec<_> = complete().filter(|it| it.known(given) == given.len()).collect();
    let likely: Vec<_> = complete().filter(|it| it.required.len() > 1).collect();
    let fitting = if exact.is_empty() { likely } else { exact };
    match fitting.as_slice() {
        [one] => Ok(one.collection),
        [] => bail!(
            "cannot tell what these records are: {}; {}; give --collection",
            told(given),
            nearest(given)
        ),
        several => {
            let names: Vec<_> = several.iter().map(|it| it.collection.name()).collect();
            bail!(
                "cannot tell what these records are: {} could be {}; give --collection",
                told(given),
                names.join(" or ")
            )
        }
    }
}

fn told(given: &[String]) -> String {
    const SHOWN_MAX: usize = 12;
    let shown: Vec<_> = given.iter().take(SHOWN_MAX).map(String::as_str).collect();
    let more = if given.len() > SHOWN_MAX { ", ..." } else { "" };
    format!("columns {}{more}", shown.join(", "))
}

/// What the collections that share most columns lack.
fn nearest(given: &[String]) -> String {
    let most = COLUMNS.iter().map(|it| it.known(given)).max().unwrap_or_default();
    if most == 0 {
        return format!("the collections are {}", super::names());
    }
    let near = COLUMNS.iter().filter(|it| it.known(given) == most);
    let near = near.map(|it| {
        let lacking = it.lacking(given);
        let lacks = if lacking.is_empty() {
            "is near".to_owned()
        } else {
            format!("would need {}", lacking.join(", "))
        };
        format!("{} {lacks}", it.collection.name())
    });
    near.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(columns: &str) -> String {
        let given: Vec<_> = columns.split_whitespace().map(str::to_owned).collect();
        match guess(&given) {
            Ok(collection) => collection.name().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_collection_is_known_by_its_columns_in_any_order() {
        for (columns, collection) in [
            ("sku name categories attributes", "products"),
            ("name sku", "products"),
            ("sku name attributes.color attributes.size", "products"),
            ("id name parent", "categories"),
            ("amount sku currency", "prices"),
            ("id skus percent_off periods", "promotions"),
            ("sku location on_hand", "stock"),
            ("id name city region postcode", "locations"),
            ("id city", "locations"),
            ("id", "locations"),
        ] {
            assert_eq!(guessed(columns), collection, "{columns}");
        }
    }

    #[test]
    fn one_column_too_many_is_left_to_the_owner_to_refuse() {
        assert_eq!(guessed("sku currency amount note"), "prices");
    }

    #[test]
    fn what_fits_two_or_none_is_told_with_the_candidates() {
        insta::assert_snapshot!(
            ["id name", "sku name currency amount note", "sku currency", "a b c", "id title"]
                .map(guessed)
                .join("\n")
        );
    }
}
