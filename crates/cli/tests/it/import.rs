//! `syncline import` against a gateway that takes, refuses and breaks off.

use serde_json::json;

use crate::fake::{Fake, syncline};

const CSV: &str = "sku,currency,amount\nMH01,USD,59.00\nMH02,USD,-1\n";

fn totals(refused: u64) -> String {
    let refusal = json!({
        "line": 3, "field": "/amount", "code": "negative", "reason": "is below 0",
    });
    let refusals = if refused == 0 { json!([]) } else { json!([refusal]) };
    json!({
        "lines": 2, "stored": 2 - refused, "unchanged": 0, "refused": refused, "waiting": 1,
        "refusals": refusals,
    })
    .to_string()
}

#[test]
fn a_file_is_sent_whole_under_a_key_made_from_its_content() {
    let gateway = Fake::serve(|_, _| Some((200, totals(0))));
    let services = [("gateway", &*gateway.url)];
    let said = syncline(&services, &["import", "-"], CSV);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("-: 2 lines into prices: 2 stored, 0 unchanged, 0 refused\n"));
    assert!(said.err.contains("sent 47 of 47 bytes, 100 %"), "{}", said.err);
    syncline(&services, &["import", "-"], CSV);
    syncline(&services, &["import", "-", "--again"], CSV);
    syncline(&services, &["import", "-", "--collection", "products"], CSV);
    let asked = gateway.asked();
    assert_eq!(asked[0].body, CSV.as_bytes());
    assert_eq!(asked[0].line, "POST /api/v1/prices/import HTTP/1.1");
    assert_eq!(asked[0].header("content-type"), "text/csv");
    assert_eq!(asked[3].line, "POST /api/v1/products/import HTTP/1.1");
    let keys: Vec<_> = asked.iter().map(|it| it.header("idempotency-key").to_owned()).collect();
    assert!(keys[0].starts_with("import-prices-"), "{keys:?}");
    assert_eq!(keys[0], keys[1]);
    assert!(keys[2] != keys[0] && keys[3] != keys[0], "{keys:?}");
}

#[test]
fn refused_lines_are_printed_and_have_an_exit_code_of_their_own() {
    let gateway = Fake::serve(|_, _| Some((200, totals(1))));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.csv");
    std::fs::write(&path, CSV).unwrap();
    let path = path.to_str().unwrap();
    let said = syncline(&[("gateway", &gateway.url)], &["import", path], "");
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.out.contains("   3  /amount  negative  is below 0\n"), "{}", said.out);
    let said = syncline(&[("gateway", &gateway.url)], &["import", path, "--json"], "");
    assert_eq!((said.code, &said.json()["refusals"][0]["line"]), (3, &json!(3)));
    assert_eq!(said.json()["collection"], "prices");
}

#[test]
fn a_bad_first_line_is_left_to_the_owner_to_refuse() {
    let gateway = Fake::serve(|_, _| Some((200, totals(1))));
    let input = "{\"sku\":\"BAD\",\n{\"sku\":\"MH01\",\"currency\":\"USD\",\"amount\":\"59\"}\n";
    let said = syncline(&[("gateway", &gateway.url)], &["import", "-"], input);
    assert_eq!(said.code, 3, "{said:?}");
    let asked = gateway.asked();
    assert_eq!(asked[0].line, "POST /api/v1/prices/import HTTP/1.1");
    assert_eq!(asked[0].header("content-type"), "application/x-ndjson");
    assert_eq!(asked[0].body, input.as_bytes());
}

#[test]
fn an_upload_that_breaks_off_is_sent_again_under_the_same_key() {
    let busy = json!({
        "type": "/problems/still-running", "title": "The same request is still running",
        "status": 409, "code": "still-running",
    });
    let gateway = Fake::serve(move |_, before| match before {
        0 => None,
        1 => Some((409, busy.to_string())),
        _ => Some((200, totals(0))),
    });
    let said = syncline(&[("gateway", &gateway.url)], &["import", "-"], CSV);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.err.matches("the upload broke off").count(), 2, "{}", said.err);
    let asked = gateway.asked();
    assert_eq!(asked.len(), 3);
    assert!(
        asked.iter().all(|it| it.header("idempotency-key") == asked[0].header("idempotency-key"))
    );
    assert_eq!(asked[2].body, CSV.as_bytes());
}

#[test]
fn what_cannot_be_imported_is_not_sent() {
    let gateway = Fake::serve(|_, _| Some((200, totals(0))));
    let services = [("gateway", &*gateway.url)];
    for (input, told) in [
        ("id,name\nmen,Men\n", "could be categories or locations"),
        ("", "holds no record"),
        ("[{}]", "jq -c"),
    ] {
        let said = syncline(&services, &["import", "-"], input);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(told), "{}", said.err);
    }
    let said = syncline(&services, &["import", "/nowhere/at/all.csv"], "");
    assert!(said.err.contains("cannot open /nowhere/at/all.csv"), "{}", said.err);
    assert!(gateway.asked().is_empty());

    let refusal = json!({
        "type": "/problems/missing-column", "title": "A column is missing", "status": 422,
        "code": "missing-column", "detail": "the header lacks amount",
    });
    let strict = Fake::serve(move |_, _| Some((422, refusal.to_string())));
    let said = syncline(&[("gateway", &strict.url)], &["import", "-"], CSV);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("refused: A column is missing: the header lacks amount"));
    assert_eq!(strict.asked().len(), 1);
}
