//! What the gateway refuses to start with.

use bus::Bus;
use gateway::Owners;

use crate::{NOWHERE, settings};

#[test]
fn an_answer_must_be_due_before_its_request_ends() {
    let late = [&NOWHERE[..], &["--answer-ms-max", "15000"]].concat();
    assert!(Owners::connect(&Bus::none(), &settings(&late)).is_err());
    assert!(Owners::connect(&Bus::none(), &settings(&NOWHERE)).is_ok());
}
