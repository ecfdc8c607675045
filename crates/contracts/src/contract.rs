//! The contract file of an entity: what it is, who owns it, how it travels.
//!
//! One YAML file beside its owner (`services/<owner>/contracts/<entity>.yaml`), loaded and checked
//! when the service starts: a service refuses to start on a contract that contradicts itself.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Lane, Source, Topic};

/// A checked contract file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// The entity in one word, for example `product`.
    pub entity: String,
    /// The one service that may write it.
    pub owner: Source,
    /// The topic that its changes travel on.
    pub topic: Topic,
    /// The lane that its changes travel in.
    pub lane: Lane,
    /// Its shape.
    pub schema: Schema,
    /// What is known of each field; every field of the schema, and no other.
    pub fields: BTreeMap<String, Field>,
    /// How two values of one field are reconciled.
    pub conflict: Resolution,
    /// Copies older than this break the promise made to readers.
    pub freshness_ms: u32,
    /// Changes stay readable at the source for at least this long.
    pub retention_hours: u32,
}

/// The shape of an entity.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Its version, as every change carries it.
    pub version: String,
    /// JSON Schema of the payload: a closed object with its required fields.
    pub document: Value,
}

/// What is known of one field.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Who may see it.
    pub classification: Classification,
    /// Whether it tells something about a living person.
    #[serde(default)]
    pub personal: bool,
}

/// Who may see a field, from everybody to a named few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Classification {
    /// Everybody.
    Public,
    /// The company.
    Internal,
    /// Those who need it.
    Confidential,
    /// A named few.
    Restricted,
}

/// How two values of one field are reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// There is one writer, the owner: the higher version wins.
    SourceOfTruth,
}

/// A contract file that cannot be read or contradicts itself.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// Not YAML, or not of a contract's form.
    #[error("read contract: {0}")]
    Malformed(String),
    /// Its parts contradict each other.
    #[error("contract of {entity} contradicts itself: {complaint}")]
    Contradiction {
        /// The entity it speaks of.
        entity: String,
        /// What contradicts what.
        complaint: String,
    },
}

impl Contract {
    /// Reads and checks a contract file.
    pub fn parse(yaml: &str) -> Result<Self, ContractError> {
        let contract: Self =
            serde_saphyr::from_str(yaml).map_err(|e| ContractError::Malformed(e.to_string()))?;
        match contract.complaint() {
            None => Ok(contract),
            Some(complaint) => {
                Err(ContractError::Contradiction { entity: contract.entity, complaint })
            }
        }
    }

    fn complaint(&self) -> Option<String> {
        let Self { owner, topic, schema, fields, .. } = self;
        if topic.source() != *owner {
            return Some(format!("topic {topic} is not one of owner {owner}"));
        }
        if !schema.version.bytes().all(|b| b.is_ascii_digit()) || schema.version.is_empty() {
            return Some(format!("schema version {:?} is no whole number", schema.version));
        }
        if schema.document.get("type").and_then(|kind| kind.as_str()) != Some("object") {
            return Some("its schema is not of type object".to_owned());
        }
        let properties = schema.document.get("properties").and_then(|value| value.as_object());
        let Some(properties) = properties else {
            return Some("its schema has no properties".to_owned());
        };
        if let Some(name) = properties.keys().find(|name| !fields.contains_key(*name)) {
            return Some(format!("field {name} of the schema is not classified"));
        }
        if let Some(name) = fields.keys().find(|name| !properties.contains_key(*name)) {
            return Some(format!("field {name} is classified but not in the schema"));
        }
        if let Some(complaint) = schema.looseness(properties) {
            return Some(complaint);
        }
        if self.freshness_ms == 0 || self.retention_hours == 0 {
            return Some("freshness_ms and retention_hours must be above 0".to_owned());
        }
        None
    }
}

impl Schema {
    /// A copy may keep only fields that it knows of, and may rely only on required ones.
    fn looseness(&self, properties: &Map<String, Value>) -> Option<String> {
        if self.document.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Some("its schema is open: additionalProperties must be false".to_owned());
        }
        let Some(required) = self.document.get("required").and_then(Value::as_array) else {
            return Some("its schema has no list of required fields".to_owned());
        };
        let known = |name: &Value| name.as_str().is_some_and(|name| properties.contains_key(name));
        let unknown = required.iter().find(|name| !known(name))?;
        let name = unknown.as_str().map_or_else(|| unknown.to_string(), str::to_owned);
        Some(format!("field {name} is required but not in the schema"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCT: &str = r#"
entity: product
owner: catalog
topic: catalog.products
lane: normal
schema:
  version: "1"
  document:
    type: object
    additionalProperties: false
    required: [name]
    properties:
      name: { type: string }
fields:
  name: { classification: public }
conflict: source-of-truth
freshness_ms: 1000
retention_hours: 24
"#;

    #[test]
    fn a_sound_contract_is_read() {
        let contract = Contract::parse(PRODUCT).unwrap();
        assert_eq!(contract.topic.as_str(), "catalog.products");
        assert_eq!(contract.lane, Lane::Normal);
        assert!(!contract.fields["name"].personal);
    }

    #[test]
    fn a_contract_that_contradicts_itself_is_refused() {
        for (from, to, complaint) in [
            ("owner: catalog", "owner: pricing", "not one of owner pricing"),
            ("version: \"1\"", "version: \"one\"", "is no whole number"),
            ("type: object", "type: array", "not of type object"),
            ("additionalProperties: false", "title: open", "its schema is open"),
            ("additionalProperties: false", "additionalProperties: true", "its schema is open"),
            ("required: [name]", "title: loose", "no list of required fields"),
            ("required: [name]", "required: name", "no list of required fields"),
            ("required: [name]", "required: [sku]", "field sku is required"),
            ("required: [name]", "required: [7]", "field 7 is required"),
            ("fields:\n  name:", "fields:\n  sku:", "field name of the schema is not classified"),
            ("freshness_ms: 1000", "freshness_ms: 0", "must be above 0"),
        ] {
            let error = Contract::parse(&PRODUCT.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn unknown_words_are_refused() {
        assert!(Contract::parse(&PRODUCT.replace("lane: normal", "lane: fast")).is_err());
        assert!(Contract::parse(&format!("{PRODUCT}\nlanes: [normal]\n")).is_err());
    }
}
