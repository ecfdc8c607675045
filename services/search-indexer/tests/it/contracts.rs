//! What search wants of the catalog's records is what the catalog's contracts promise.

use contracts::Contract;
use search_indexer::{Product, ShownCategory};
use serde_json::json;

/// The wanted fields are required by the contract, so that none is ever filled in by default.
fn promises(contract: &Contract, wanted: &[&str], sample: &serde_json::Value) {
    let schema = &contract.schema.document;
    let required = schema["required"].as_array().unwrap();
    for field in wanted {
        assert!(required.contains(&json!(field)), "{field} of {}", contract.entity);
    }
    assert!(jsonschema::validator_for(schema).unwrap().is_valid(sample), "{sample}");
}

#[test]
fn a_product_is_what_its_contract_says() {
    let contract = include_str!("../../../catalog/contracts/product.yaml");
    let contract = Contract::parse(contract).unwrap();
    let sample = json!({"sku": "MH01", "name": "Hoodie", "categories": ["tops"],
        "attributes": {"size": "XS", "weight": 0.5, "organic": true}});
    promises(&contract, &["name", "categories", "attributes"], &sample);
    assert_eq!(contract.topic.as_str(), <search_indexer::Products as inbox::Projection>::TOPIC);
    let product: Product = serde_json::from_value(sample).unwrap();
    assert_eq!((product.categories.len(), product.attributes.len()), (1, 3));
}

#[test]
fn a_category_is_what_its_contract_says() {
    let contract = include_str!("../../../catalog/contracts/category.yaml");
    let contract = Contract::parse(contract).unwrap();
    let sample = json!({"id": "tops", "name": "Tops", "parent": "men"});
    promises(&contract, &["name", "parent"], &sample);
    assert_eq!(contract.topic.as_str(), <search_indexer::Categories as inbox::Projection>::TOPIC);
    let category: ShownCategory = serde_json::from_value(sample).unwrap();
    assert_eq!(category.parent.unwrap().as_str(), "men");
}
