//! What a view is made of: what each owner answered, byte for byte, and the versions of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use cache::Vector;
use chrono::{DateTime, Utc};
use contracts::{Id, Version};
use http::header;
use inbox::{Projection as _, Record};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::hop::{Answer, Failure};
use crate::projections::{Prices, Products, Stock};

/// One owner's part in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Product,
    Price,
    Stock,
}

/// All parts, in the order in which a view shows them.
pub(crate) const KINDS: [Kind; 3] = [Kind::Product, Kind::Price, Kind::Stock];

/// What one owner answered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Nothing where the owner has no such record.
    pub(crate) value: Option<Box<RawValue>>,
    /// The versions of the records in it, by the names of their parts.
    pub(crate) versions: BTreeMap<String, Version>,
    /// A newer state of it may be set aside.
    pub(crate) is_behind: bool,
    /// When it changes by itself.
    until: Option<DateTime<Utc>>,
}

/// A whole view.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Parts {
    product: Part,
    price: Part,
    stock: Part,
}

#[derive(Deserialize)]
struct PriceBody {
    until: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct StockBody<'a> {
    #[serde(borrow)]
    locations: &'a RawValue,
}

#[derive(Deserialize)]
struct StockLine {
    location: String,
    available: i64,
    version: Version,
}

#[derive(Serialize)]
struct StockPart<'a> {
    available: i64,
    locations: &'a RawValue,
}

impl Kind {
    /// Where its owner serves it.
    pub(crate) const fn collection(self) -> &'static str {
        match self {
            Self::Product => "products",
            Self::Price => "prices",
            Self::Stock => "stock",
        }
    }

    /// Where its changes are heard of.
    pub(crate) const fn topic(self) -> &'static str {
        match self {
            Self::Product => Products::TOPIC,
            Self::Price => Prices::TOPIC,
            Self::Stock => Stock::TOPIC,
        }
    }

    /// Why a part is behind, in words.
    pub(crate) fn set_aside(self) -> String {
        format!("a change of the {self} is set aside until somebody has looked at it")
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Price => "price",
            Self::Stock => "stock",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// In which view, and as which part of it, a record is shown.
pub(crate) fn name_of(record: &Record) -> Option<(Id, String)> {
    let kind = KINDS.into_iter().find(|kind| kind.topic() == record.topic)?;
    let (sku, name) = match (kind, record.key.split_once('/')) {
        (Kind::Stock, Some((sku, location))) => (sku, stock_name(location)),
        (Kind::Product | Kind::Price | Kind::Stock, _) => {
            (record.key.as_str(), kind.as_str().to_owned())
        }
    };
    Some((Id::parse(sku).ok()?, name))
}

fn stock_name(location: &str) -> String {
    format!("{}/{location}", Kind::Stock)
}

impl Part {
    /// Reads what the owner answered.
    pub(crate) fn read(kind: Kind, answer: &Answer) -> Result<Self, Failure> {
        const BROKEN: Failure = Failure::Unusable("cannot be read");
        if kind == Kind::Stock {
            return Self::stock(&answer.body).ok_or(BROKEN);
        }
        let value: Box<RawValue> = serde_json::from_slice(&answer.body).map_err(|_| BROKEN)?;
        let tag = answer.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let version = tag.and_then(version).ok_or(Failure::Unusable("has no version"))?;
        let until = match kind {
            Kind::Price => {
                let body: PriceBody = serde_json::from_str(value.get()).map_err(|_| BROKEN)?;
                body.until
            }
            Kind::Product | Kind::Stock => None,
        };
        let versions = BTreeMap::from([(kind.as_str().to_owned(), version)]);
        Ok(Self { value: Some(value), versions, is_behind: false, until })
    }

    fn stock(body: &[u8]) -> Option<Self> {
        let body: StockBody<'_> = serde_json::from_slice(body).ok()?;
        let lines: Vec<StockLine> = serde_json::from_str(body.locations.get()).ok()?;
        let part = StockPart {
            available: lines.iter().map(|line| line.available).sum(),
            locations: body.locations,
        };
        let value = serde_json::value::to_raw_value(&part).ok()?;
        let versions = lines.iter().map(|line| (stock_name(&line.location), line.version));
        Some(Self {
            value: Some(value),
            versions: versions.collect(),
            is_behind: false,
            until: None,
        })
    }
}

/// The version that a tag of an owner names.
fn version(tag: &str) -> Option<Version> {
    let (version, _) = tag.trim_start_matches("W/").trim_matches('"').split_once('-')?;
    Version::parse(version).ok()
}

impl Parts {
    pub(crate) fn get(&self, kind: Kind) -> &Part {
        match kind {
            Kind::Product => &self.product,
            Kind::Price => &self.price,
            Kind::Stock => &self.stock,
        }
    }

    pub(crate) fn set(&mut self, kind: Kind, part: Part) {
        match kind {
            Kind::Product => self.product = part,
            Kind::Price => self.price = part,
            Kind::Stock => self.stock = part,
        }
    }

    /// Each kind with its part.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Kind, &Part)> {
        KINDS.into_iter().map(|kind| (kind, self.get(kind)))
    }

    /// Whether no owner has anything of it.
    pub(crate) fn is_unknown(&self) -> bool {
        self.iter().all(|(_, part)| part.value.is_none())
    }

    /// Whether it waits for its product.
    pub(crate) fn waits(&self) -> bool {
        self.product.value.is_none() && !self.is_unknown()
    }

    /// What an invalidation is compared with. A part that is behind has no version there: the mark
    /// has to go when its case is closed, whatever the version is then.
    pub(crate) fn vector(&self) -> Vector {
        let parts = self.iter().filter(|(_, part)| !part.is_behind);
        let versions = parts.flat_map(|(_, part)| &part.versions);
        versions.map(|(name, version)| (name.clone(), *version)).collect()
    }

    /// When it ceases to be current by itself, since the epoch.
    pub(crate) fn until(&self) -> Option<Duration> {
        let until = self.iter().filter_map(|(_, part)| part.until).min()?;
        Some(Duration::from_millis(u64::try_from(until.timestamp_millis()).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn answer(tag: Option<&'static str>, body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(tag) = tag {
            headers.insert(header::ETAG, HeaderValue::from_static(tag));
        }
        Answer { status: StatusCode::OK, headers, body: body.into() }
    }

    const STOCK: &str = r#"{"sku":"A","locations":[
        {"location":"s1","on_hand":5,"reserved":1,"available":4,"version":"3"},
        {"location":"s2","on_hand":2,"reserved":0,"available":2,"version":"1"}]}"#;

    fn parts() -> Parts {
        let mut parts = Parts::default();
        let price = r#"{"sku":"A","effective":"5.00","until":"2026-12-01T00:00:00Z"}"#;
        for (kind, answer) in [
            (Kind::Product, answer(Some("\"7-0a1b2c3d\""), r#"{"sku":"A"}"#)),
            (Kind::Price, answer(Some("\"2-0a1b2c3d\""), price)),
            (Kind::Stock, answer(None, STOCK)),
        ] {
            parts.set(kind, Part::read(kind, &answer).unwrap());
        }
        parts
    }

    #[test]
    fn versions_and_the_next_change_are_taken_from_the_answers() {
        let parts = parts();
        let vector: Vec<_> =
            parts.vector().iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(vector, ["price 2", "product 7", "stock/s1 3", "stock/s2 1"]);
        assert_eq!(parts.until(), Some(Duration::from_secs(1_796_083_200)));
        let stock = parts.get(Kind::Stock).value.as_ref().unwrap().get();
        assert!(stock.starts_with(r#"{"available":6,"locations":["#), "{stock}");
    }

    #[test]
    fn what_is_kept_comes_back_as_it_was() {
        let kept = serde_json::to_vec(&parts()).unwrap();
        let back: Parts = serde_json::from_slice(&kept).unwrap();
        assert_eq!(back.vector(), parts().vector());
        assert_eq!(serde_json::to_vec(&back).unwrap(), kept);
    }

    #[test]
    fn a_part_that_is_behind_is_ended_by_whatever_comes() {
        let mut parts = parts();
        parts.price.is_behind = true;
        assert_eq!(parts.vector().get("price"), None);
        assert!(parts.vector().get("product").is_some());
    }

    #[test]
    fn an_answer_without_a_version_is_none() {
        for (kind, answer) in [
            (Kind::Product, answer(None, "{}")),
            (Kind::Product, answer(Some("\"x\""), "{}")),
            (Kind::Product, answer(Some("\"1-0a1b2c3d\""), "{")),
            (Kind::Stock, answer(None, r#"{"sku":"A"}"#)),
        ] {
            assert!(Part::read(kind, &answer).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn a_record_is_shown_as_a_part_of_its_products_view() {
        let name = |topic: &str, key: &str| {
            let (topic, key) = (topic.to_owned(), key.to_owned());
            name_of(&Record { topic, key }).map(|(sku, name)| format!("{} {name}", sku.as_str()))
        };
        assert_eq!(name("catalog.products", "A").as_deref(), Some("A product"));
        assert_eq!(name("pricing.prices", "A").as_deref(), Some("A price"));
        assert_eq!(name("warehouse.stock", "A/s.1").as_deref(), Some("A stock/s.1"));
        assert_eq!(name("warehouse.locations", "s.1"), None);
    }
}
