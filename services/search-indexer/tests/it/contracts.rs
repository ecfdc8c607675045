//! What search wants of the records of others is what their owners' contracts promise.

use std::fmt::Debug;

use contracts::Contract;
use search_indexer::{Product, ShownCategory, ShownPrice, ShownStock};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Takes the sample's fields away one by one: what is read without a field must not have wanted
/// it, since a value that is filled in is no copy; what is wanted must be required.
fn wanted<E: DeserializeOwned + PartialEq + Debug>(
    contract: &Contract,
    sample: &Value,
) -> Vec<String> {
    let schema = &contract.schema.document;
    assert!(jsonschema::validator_for(schema).unwrap().is_valid(sample), "{sample}");
    let properties = schema["properties"].as_object().unwrap();
    let whole: E = serde_json::from_value(sample.clone()).unwrap();
    let mut wanted = Vec::new();
    for field in properties.keys() {
        let mut less = sample.clone();
        assert!(less.as_object_mut().unwrap().remove(field).is_some(), "{field} is no sample");
        match serde_json::from_value::<E>(less) {
            Ok(read) => assert_eq!(read, whole, "{field} is filled in"),
            Err(_) => wanted.push(field.clone()),
        }
    }
    let required = schema["required"].as_array().unwrap();
    for field in &wanted {
        assert!(required.contains(&json!(field)), "{field} of {} is not promised", contract.entity);
    }
    wanted
}

#[test]
fn a_product_is_what_its_contract_says() {
    let contract = include_str!("../../../catalog/contracts/product.yaml");
    let contract = Contract::parse(contract).unwrap();
    let sample = json!({"sku": "MH01", "name": "Hoodie", "categories": ["tops"],
        "attributes": {"size": "XS", "weight": 0.5, "organic": true}});
    assert_eq!(wanted::<Product>(&contract, &sample), ["attributes", "categories", "name"]);
    assert_eq!(contract.topic.as_str(), <search_indexer::Products as inbox::Projection>::TOPIC);
    let product: Product = serde_json::from_value(sample).unwrap();
    assert_eq!((product.categories.len(), product.attributes.len()), (1, 3));
}

#[test]
fn a_category_is_what_its_contract_says() {
    let contract = include_str!("../../../catalog/contracts/category.yaml");
    let contract = Contract::parse(contract).unwrap();
    let sample = json!({"id": "tops", "name": "Tops", "parent": "men"});
    assert_eq!(wanted::<ShownCategory>(&contract, &sample), ["name", "parent"]);
    assert_eq!(contract.topic.as_str(), <search_indexer::Categories as inbox::Projection>::TOPIC);
    let category: ShownCategory = serde_json::from_value(sample).unwrap();
    assert_eq!(category.parent.unwrap().as_str(), "men");
}

#[test]
fn a_price_is_what_its_contract_says() {
    let contract = include_str!("../../../pricing/contracts/price.yaml");
    let contract = Contract::parse(contract).unwrap();
    let sample = json!({"sku": "MH01", "currency": "USD", "amount": "59.00", "effective": "47.20",
        "promotion": "summer", "until": "2026-12-01T00:00:00Z"});
    let fields = ["amount", "currency", "effective", "promotion", "until"];
    assert_eq!(wanted::<ShownPrice>(&contract, &sample), fields);
    assert_eq!(contract.topic.as_str(), <search_indexer::Prices as inbox::Projection>::TOPIC);
    // No amount that the contract allows is beyond what search can hold.
    for (amount, until) in [("0.00", "2026-12-01T00:00:00.123456Z"), ("999999999999.9999", "")] {
        let mut sample = sample.clone();
        sample["amount"] = json!(amount);
        sample["until"] = if until.is_empty() { Value::Null } else { json!(until) };
        assert!(jsonschema::is_valid(&contract.schema.document, &sample), "{sample}");
        let price: ShownPrice = serde_json::from_value(sample).unwrap();
        assert_eq!(price.amount.to_string(), amount);
    }
}

#[test]
fn stock_is_what_its_contract_says() {
    let contract = include_str!("../../../warehouse/contracts/stock.yaml");
    let contract = Contract::parse(contract).unwrap();
    let sample = json!({"sku": "MH01", "location": "nyc", "on_hand": 2_147_483_648_u32,
        "reserved": 0, "available": 2_147_483_648_u32});
    assert_eq!(wanted::<ShownStock>(&contract, &sample), ["available"]);
    assert_eq!(contract.topic.as_str(), <search_indexer::Stock as inbox::Projection>::TOPIC);
    let stock: ShownStock = serde_json::from_value(sample).unwrap();
    assert_eq!(stock.available, 2_147_483_648);
}
