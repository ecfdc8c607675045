//! Bodies of requests: what may stand in them, and the way to the domain.

use std::{collections::BTreeMap, fmt};

use contracts::{Id, Invalid};
use records::{BrokenRules, check_id, named, same};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use service_kit::{Problem, broken};
use utoipa::ToSchema;
use validator::{Validate, ValidationError, ValidationErrors};

use crate::domain::{Attribute, Category, Name, Product};

/// A product
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Product)]
pub(super) struct ProductBody {
    /// The same as in the path, or left out
    #[validate(custom(function = "check_id"))]
    sku: Option<String>,
    /// What people call it, 1 to 512 characters
    #[validate(custom(function = "check_name"))]
    name: String,
    /// Ids of categories, at most 64; they need not exist yet
    #[validate(nested)]
    #[schema(value_type = Vec<String>)]
    categories: Ids,
    /// Text, numbers, true and false by name, at most 200
    #[validate(nested)]
    #[schema(value_type = std::collections::HashMap<String, Scalar>)]
    attributes: Attributes,
}

/// A category
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Category)]
pub(super) struct CategoryBody {
    /// The same as in the path, or left out
    #[validate(custom(function = "check_id"))]
    id: Option<String>,
    /// What people call it, 1 to 512 characters
    #[validate(custom(function = "check_name"))]
    name: String,
    /// Id of the category above it, which need not exist yet; null at the top
    #[validate(custom(function = "check_id"))]
    parent: Option<String>,
}

/// Text, a number, true or false
#[derive(ToSchema)]
#[schema(as = AttributeValue)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the body in the document only")]
pub(super) enum Scalar {
    Text(String),
    Number(f64),
    Flag(bool),
}

impl ProductBody {
    /// The product that a line of an import names itself.
    pub(super) fn into_named(self) -> Result<Product, Problem> {
        let sku = named(self.sku.as_deref(), "sku")?;
        self.into_product(sku)
    }

    /// The product of this SKU; the body was validated, so what is left is what involves the path.
    pub(super) fn into_product(self, sku: Id) -> Result<Product, Problem> {
        same(self.sku.as_deref(), &sku, "sku")?;
        let name = Name::parse(&self.name).map_err(|invalid| Problem::refused("/name", invalid))?;
        let categories = self.categories.0.iter().enumerate().map(|(index, raw)| {
            Id::parse(raw)
                .map_err(|invalid| Problem::refused(&format!("/categories/{index}"), invalid))
        });
        let categories = categories.collect::<Result<_, _>>()?;
        let attributes = self.attributes.0.iter().map(|(name, raw)| {
            let refused = |invalid| Problem::refused(&format!("/attributes/{name}"), invalid);
            Ok((Id::parse(name).map_err(refused)?, attribute(raw).map_err(refused)?))
        });
        let attributes = attributes.collect::<Result<_, Problem>>()?;
        Ok(Product { sku, name, categories, attributes })
    }
}

impl CategoryBody {
    /// The category that a line of an import names itself.
    pub(super) fn into_named(self) -> Result<Category, Problem> {
        let id = named(self.id.as_deref(), "id")?;
        self.into_category(id)
    }

    /// The category of this id.
    pub(super) fn into_category(self, id: Id) -> Result<Category, Problem> {
        same(self.id.as_deref(), &id, "id")?;
        let name = Name::parse(&self.name).map_err(|invalid| Problem::refused("/name", invalid))?;
        let parent = self.parent.as_deref().map(Id::parse).transpose();
        let parent = parent.map_err(|invalid| Problem::refused("/parent", invalid))?;
        Category::new(id, name, parent).map_err(|invalid| Problem::refused("/parent", invalid))
    }
}

fn check_name(raw: &str) -> Result<(), ValidationError> {
    Name::parse(raw).map(drop).map_err(broken)
}

/// Ids of categories, each once.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Ids(Vec<String>);

impl Validate for Ids {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let mut errors = BrokenRules::default();
        errors.check("", Product::check_categories(self.0.len()));
        let mut seen = std::collections::BTreeSet::new();
        for (index, raw) in self.0.iter().enumerate() {
            let once = Id::parse(raw).map(drop).and_then(|()| match seen.insert(raw.as_str()) {
                true => Ok(()),
                false => Err(Invalid { code: "duplicate", reason: "is named twice".to_owned() }),
            });
            errors.check(&index.to_string(), once);
        }
        errors.finish()
    }
}

/// Attributes as they were written: a parsed number would have lost what is wrong with it.
#[derive(Debug)]
pub(super) struct Attributes(BTreeMap<String, Box<RawValue>>);

impl Validate for Attributes {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let mut errors = BrokenRules::default();
        errors.check("", Product::check_attributes(self.0.len()));
        for (name, raw) in &self.0 {
            errors.check(name, Id::parse(name).map(drop));
            errors.check(name, attribute(raw).map(drop));
        }
        errors.finish()
    }
}

/// The value of an attribute, decided by its first character, as JSON allows.
fn attribute(raw: &RawValue) -> Result<Attribute, Invalid> {
    let text = raw.get();
    match text.bytes().next() {
        Some(b'"') => {
            let text = serde_json::from_str(text).map_err(|_| Invalid {
                code: "illegal-character",
                reason: "has escapes that are no Unicode text".to_owned(),
            })?;
            Attribute::text(text)
        }
        Some(b't') => Ok(Attribute::Flag(true)),
        Some(b'f') => Ok(Attribute::Flag(false)),
        Some(b'-' | b'0'..=b'9') => Attribute::number(text),
        _ => Err(Invalid {
            code: "wrong-type",
            reason: "must be text, a number, true or false".to_owned(),
        }),
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnceEach)
    }
}

/// Refuses a name that stands twice: a map would silently keep one of the values.
struct OnceEach;

impl<'de> Visitor<'de> for OnceEach {
    type Value = Attributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
        let mut attributes = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if attributes.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            attributes.insert(name, value);
        }
        Ok(Attributes(attributes))
    }
}
