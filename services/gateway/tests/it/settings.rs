//! What the gateway refuses to start with.

use bus::Bus;
use gateway::Owners;

use crate::{NOWHERE, settings};

#[test]
fn limits_that_contradict_each_other_are_refused_with_what_to_set() {
    for (arguments, named) in [
        (["--answer-ms-max", "15000"], "15000"),
        (["--part-ms-max", "5001"], "PART_MS_MAX"),
        (["--sync-interval-ms", "1000"], "SYNC_INTERVAL_MS"),
    ] {
        let contradictory = [&NOWHERE[..], &arguments].concat();
        let error = Owners::connect(&Bus::none(), &settings(&contradictory)).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
    assert!(Owners::connect(&Bus::none(), &settings(&NOWHERE)).is_ok());
}
