//! What the gateway refuses to start with.

use bus::Bus;
use gateway::Owners;

use crate::settings;

#[test]
fn without_a_sidecar_every_owner_needs_an_address() {
    let error = Owners::connect(&Bus::none(), &settings(&["--catalog-url", "http://a"]));
    let error = error.unwrap_err().to_string();
    assert_eq!(error, "find search-indexer: with transport none set SEARCH_INDEXER_URL");
}

#[test]
fn an_answer_must_be_due_before_its_request_ends() {
    let urls = ["--catalog-url", "http://a", "--search-indexer-url", "http://b"];
    let late = [&urls[..], &["--answer-ms-max", "15000"]].concat();
    assert!(Owners::connect(&Bus::none(), &settings(&late)).is_err());
    assert!(Owners::connect(&Bus::none(), &settings(&urls)).is_ok());
}
