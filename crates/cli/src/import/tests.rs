//! What an import prints.

use super::*;

#[test]
fn totals_and_refusals_are_printed_by_line_field_and_reason() {
    let totals: Totals = serde_json::from_value(serde_json::json!({
        "lines": 10_000, "stored": 9_900, "unchanged": 43, "refused": 57, "waiting": 12,
        "refusals": [
            {"line": 17, "field": "/amount", "code": "negative", "reason": "is below 0"},
            {"line": 9_999, "field": "", "code": "malformed", "reason": "is no JSON object"},
        ],
    }))
    .unwrap();
    insta::assert_snapshot!(totals.text("prices.csv", "prices"));
    let none = Totals { refused: 0, waiting: 0, refusals: Vec::new(), ..totals };
    assert_eq!(
        none.text("-", "prices"),
        "-: 10000 lines into prices: 9900 stored, 43 unchanged, 0 refused\n"
    );
}
