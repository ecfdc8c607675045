//! What a person calls an entity: `price MH01`, `stock MH01 store-1008`, `pricing.prices MH01`.

use anyhow::{Context as _, Result, bail};
use contracts::{Key, Topic};

/// Collection, its singular, the topic that publishes it.
const ENTITIES: [(&str, &str, &str); 6] = [
    ("products", "product", "catalog.products"),
    ("categories", "category", "catalog.categories"),
    ("prices", "price", "pricing.prices"),
    ("promotions", "promotion", "pricing.promotions"),
    ("stock", "stock", "warehouse.stock"),
    ("locations", "location", "warehouse.locations"),
];

/// The entity of these words: its topic and its key.
pub(crate) fn named(entity: &str, key: &str, location: Option<&str>) -> Result<(Topic, Key)> {
    let topic = topic(entity)?;
    let key = match (topic.as_str(), location) {
        ("warehouse.stock", Some(location)) => format!("{key}/{location}"),
        ("warehouse.stock", None) if !key.contains('/') => bail!(
            "stock is kept per location: write `syncline where stock {key} <LOCATION>` or \
             {key}/<LOCATION>"
        ),
        (_, None) => key.to_owned(),
        (topic, Some(more)) => bail!("{topic} has one key: what is {more:?}?"),
    };
    Ok((topic, Key::parse(&key).with_context(|| format!("the key {key:?} cannot exist"))?))
}

fn topic(entity: &str) -> Result<Topic> {
    let word = entity.to_lowercase();
    let known = ENTITIES.iter().find(|(plural, singular, _)| word == *plural || word == *singular);
    match known {
        Some((_, _, topic)) => Ok(Topic::parse(topic)?),
        None if word.contains('.') => Ok(Topic::parse(&word)?),
        None => {
            let words: Vec<_> = ENTITIES.iter().map(|(_, singular, _)| *singular).collect();
            bail!(
                "there is no entity {entity:?}: name one of {}, or a topic like catalog.products",
                words.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(entity: &str, key: &str, location: Option<&str>) -> String {
        match named(entity, key, location) {
            Ok((topic, key)) => format!("{} {}", topic.as_str(), key.as_str()),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn one_many_and_the_topic_mean_the_same() {
        for entity in ["price", "prices", "Price", "pricing.prices"] {
            assert_eq!(told(entity, "MH01", None), "pricing.prices MH01");
        }
        assert_eq!(told("category", "men.tops", None), "catalog.categories men.tops");
        assert_eq!(told("returns.returns", "R-1", None), "returns.returns R-1");
    }

    #[test]
    fn stock_is_named_by_sku_and_location() {
        assert_eq!(told("stock", "MH01", Some("store-1")), "warehouse.stock MH01/store-1");
        assert_eq!(told("stock", "MH01/store-1", None), "warehouse.stock MH01/store-1");
        assert!(told("stock", "MH01", None).contains("stock MH01 <LOCATION>"));
        assert!(told("price", "MH01", Some("store-1")).contains("one key"));
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let told = told("prise", "MH01", None);
        assert!(told.contains("\"prise\"") && told.contains("price, promotion"), "{told}");
    }
}
