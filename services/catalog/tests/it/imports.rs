//! Files of many records: what is good is stored, what is bad is told by line, field and reason.

use serde_json::{Value, json};

use crate::world::{Answer, World};

pub(crate) const PRODUCTS: &str = "/api/v1/products/import";
const CATEGORIES: &str = "/api/v1/categories/import";
pub(crate) const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const CSV: (&str, &str) = ("content-type", "text/csv");

/// A sound line of NDJSON.
pub(crate) fn line(number: usize) -> String {
    format!(
        "{{\"sku\":\"S{number}\",\"name\":\"Product {number}\",\"categories\":[\"c\"],\
         \"attributes\":{{\"n\":{number}}}}}\n"
    )
}

/// Line, field and code of each refusal.
pub(crate) fn refusals(answer: &Answer) -> Vec<(u64, String, String)> {
    let text = |one: &Value, name| one.get(name).and_then(Value::as_str).expect("text").to_owned();
    let body = answer.json();
    let refusals = body.get("refusals").and_then(Value::as_array).expect("a list of refusals");
    refusals
        .iter()
        .map(|one| {
            assert!(!text(one, "reason").is_empty(), "no reason: {one}");
            let line = one.get("line").and_then(Value::as_u64).expect("a line");
            (line, text(one, "field"), text(one, "code"))
        })
        .collect()
}

/// The totals: lines, stored, unchanged, refused, waiting.
pub(crate) fn totals(answer: &Answer) -> [u64; 5] {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    ["lines", "stored", "unchanged", "refused", "waiting"]
        .map(|name| body.get(name).and_then(Value::as_u64).expect("a number"))
}

/// A line that breaks a rule, the field at fault and the code of the rule.
const BAD: [(&str, &str, &str); 10] = [
    ("{\"sku\":\"a\"", "", "broken-json"),
    ("[]", "", "invalid-value"),
    (r#"{"name":"a","categories":[],"attributes":{}}"#, "/sku", "missing-field"),
    (r#"{"sku":"a b","name":"a","categories":[],"attributes":{}}"#, "/sku", "illegal-character"),
    (r#"{"sku":"a","name":"","categories":[],"attributes":{}}"#, "/name", "length"),
    (r#"{"sku":"a","name":7,"categories":[],"attributes":{}}"#, "/name", "wrong-type"),
    (
        r#"{"sku":"a","name":"a","categories":["x","x"],"attributes":{}}"#,
        "/categories/1",
        "duplicate",
    ),
    (r#"{"sku":"a","name":"a","categories":[]}"#, "/attributes", "missing-field"),
    (
        r#"{"sku":"a","name":"a","categories":[],"attributes":{"n":1e400}}"#,
        "/attributes/n",
        "number-out-of-range",
    ),
    (r#"{"sku":"a","name":"a","categories":[],"attributes":{},"x\u0000":1}"#, "", "unknown-field"),
];

#[tokio::test]
async fn of_ten_thousand_lines_the_bad_ones_alone_are_refused() -> anyhow::Result<()> {
    let world = World::create().await?;
    let (mut file, mut expected) = (String::new(), Vec::new());
    for number in 1..=10_000 {
        if number % 173 == 0 && expected.len() < 57 {
            let (bad, field, code) = BAD[expected.len() % BAD.len()];
            file.push_str(bad);
            file.push('\n');
            let field = if code == "unknown-field" { "/x\u{fffd}" } else { field };
            expected.push((number as u64, field.to_owned(), code.to_owned()));
        } else {
            file.push_str(&line(number));
        }
    }
    let answer = world.import(PRODUCTS, &[NDJSON], file.clone()).await;
    assert_eq!(totals(&answer), [10_000, 9_943, 0, 57, 0]);
    assert_eq!(refusals(&answer), expected);
    assert_eq!(world.stored().await?, [9_943, 0, 9_943, 9_943, 0]);
    let read = world.get("/api/v1/products/S9999").await.json();
    let product = json!({"sku": "S9999", "name": "Product 9999", "categories": ["c"],
        "attributes": {"n": 9999}});
    assert_eq!(read, product);

    let again = world.import(PRODUCTS, &[NDJSON], file).await;
    assert_eq!(totals(&again), [10_000, 0, 9_943, 57, 0]);
    assert_eq!(world.stored().await?[3], 9_943, "equal records were appended");
    Ok(())
}

#[tokio::test]
async fn of_two_lines_with_the_same_key_the_later_one_holds() -> anyhow::Result<()> {
    let world = World::create().await?;
    let file = "{\"id\":\"a\",\"name\":\"one\",\"parent\":null}\n\n\
        {\"id\":\"b\",\"name\":\"other\",\"parent\":\"a\"}\r\n\
        {\"id\":\"a\",\"name\":\"two\",\"parent\":null}";
    let answer = world.import(CATEGORIES, &[NDJSON], file).await;
    assert_eq!(totals(&answer), [3, 3, 0, 0, 0]);
    assert_eq!(world.get("/api/v1/categories/a").await.json()["name"], "two");
    assert_eq!(world.get("/api/v1/categories/a").await.etag().get(..3), Some("\"2-"));
    Ok(())
}

#[tokio::test]
async fn csv_is_read_with_its_quotes_its_mark_and_its_line_ends() -> anyhow::Result<()> {
    let world = World::create().await?;
    let file = "\u{feff}sku,name,attributes.color,categories,attributes.size,attributes.new\r\n\
        a,\"Said \"\"no\"\", twice\",Größe,men|men.tops,7.50,true\r\n\
        \r\n\
        b,\"two\nlines\",,,,\r\n\
        c,Short,x\r\n\
        d,Plain,\"a\nb\",,007,\r\n\
        e f,Bad,,,,\r\n";
    let answer = world.import(PRODUCTS, &[CSV], file).await;
    assert_eq!(totals(&answer), [6, 2, 0, 4, 0]);
    let expected = [
        (4, "/name".to_owned(), "unclosed-quote".to_owned()),
        (5, String::new(), "number-of-fields".to_owned()),
        (6, String::new(), "number-of-fields".to_owned()),
        (9, "/sku".to_owned(), "illegal-character".to_owned()),
    ];
    assert_eq!(refusals(&answer), expected);
    let product = json!({"sku": "a", "name": "Said \"no\", twice",
        "categories": ["men", "men.tops"],
        "attributes": {"color": "Größe", "size": 7.5, "new": true}});
    assert_eq!(world.get("/api/v1/products/a").await.json(), product);
    let plain = world.get("/api/v1/products/d").await.json();
    assert_eq!(plain["attributes"], json!({"color": "a\nb", "size": "007"}));
    assert_eq!(plain["categories"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_line_of_two_megabytes_is_refused_and_the_rest_goes_on() -> anyhow::Result<()> {
    let world = World::create().await?;
    let long = "x".repeat(2 << 20);
    let ndjson = format!("{}{{\"sku\":\"{long}\"}}\n{}", line(1), line(3));
    let answer = world.import(PRODUCTS, &[NDJSON], ndjson).await;
    assert_eq!(totals(&answer), [3, 2, 0, 1, 0]);
    assert_eq!(refusals(&answer), [(2, String::new(), "line-too-long".to_owned())]);
    let csv = format!("id,name\na,A\nb,\"{long}\n\"\nc,C\n");
    let answer = world.import(CATEGORIES, &[CSV], csv).await;
    assert_eq!(totals(&answer), [4, 2, 0, 2, 0]);
    let [long, open] = ["line-too-long", "unclosed-quote"].map(str::to_owned);
    assert_eq!(refusals(&answer), [(3, String::new(), long), (4, String::new(), open)]);
    assert_eq!(world.stored().await?, [2, 2, 4, 4, 0]);
    Ok(())
}

#[tokio::test]
async fn a_line_in_another_encoding_is_refused_by_its_number() -> anyhow::Result<()> {
    let world = World::create().await?;
    let latin = b"id,name\na,A\nb,Gr\xf6\xdfe\nc,C\n".to_vec();
    let answer = world.import(CATEGORIES, &[CSV], latin).await;
    assert_eq!(totals(&answer), [3, 2, 0, 1, 0]);
    assert_eq!(refusals(&answer), [(3, "/name".to_owned(), "not-utf8".to_owned())]);
    let mut latin = line(1).into_bytes();
    latin.extend(b"{\"sku\":\"S2\",\"name\":\"Gr\xf6\xdfe\",\"categories\":[],\"attributes\":{}}");
    let answer = world.import(PRODUCTS, &[NDJSON], latin).await;
    assert_eq!(refusals(&answer), [(2, String::new(), "not-utf8".to_owned())]);
    Ok(())
}

#[tokio::test]
async fn a_quote_that_is_never_closed_is_told_by_the_line_where_it_opens() -> anyhow::Result<()> {
    let world = World::create().await?;
    for rest in ["", "c,C\n", &"x\n".repeat(5_000)] {
        let file = format!("id,name\na,A\nb,\"B\n{rest}");
        let answer = world.import(CATEGORIES, &[CSV], file).await;
        assert_eq!(totals(&answer)[0], 2 + rest.lines().count() as u64);
        let refusals = refusals(&answer);
        assert_eq!(refusals[0], (3, String::new(), "unclosed-quote".to_owned()));
        assert!(refusals[1..].iter().all(|(_, _, code)| code == "number-of-fields"));
    }
    assert_eq!(world.stored().await?, [0, 2, 2, 2, 0], "c is stored");
    Ok(())
}

#[tokio::test]
async fn a_file_that_cannot_be_meant_is_refused_as_a_whole() -> anyhow::Result<()> {
    let world = World::create().await?;
    let utf16: Vec<u8> =
        "\u{feff}id,name\na,A\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf32: Vec<u8> =
        "id,name\na,A\n".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    let sound = b"id,name\na,A\n".to_vec();
    let plain = ("content-type", "text/plain");
    let latin = ("content-type", "text/csv; charset=iso-8859-1");
    for (headers, file, status, code) in [
        (vec![CSV], utf16.clone(), 415, "unsupported-encoding"),
        (vec![NDJSON], utf16, 415, "unsupported-encoding"),
        (vec![CSV], utf32, 415, "unsupported-encoding"),
        (vec![latin], sound.clone(), 415, "unsupported-encoding"),
        (vec![CSV, ("content-encoding", "gzip")], sound.clone(), 415, "unsupported-encoding"),
        (vec![plain], sound.clone(), 415, "unsupported-media-type"),
        (vec![], sound.clone(), 415, "unsupported-media-type"),
        (vec![CSV, ("idempotency-key", "")], sound, 400, "malformed-idempotency-key"),
        (vec![CSV], b"id\na\n".to_vec(), 422, "invalid"),
        (vec![CSV], b"id,name,colour\na,A,red\n".to_vec(), 422, "invalid"),
        (vec![CSV], b"id,name,id\na,A,b\n".to_vec(), 422, "invalid"),
        (vec![CSV], b"a,A\n".to_vec(), 422, "invalid"),
        (vec![CSV], b"id,\"name\na,A\n".to_vec(), 422, "invalid"),
        (vec![CSV], b"id,na\xffme\na,A\n".to_vec(), 422, "invalid"),
        (vec![CSV], Vec::new(), 422, "invalid"),
    ] {
        let answer = world.import(CATEGORIES, &headers, file.clone()).await;
        assert_eq!(answer.problem(), (status, code.to_owned()), "{file:?}");
    }
    let missing = world.import(CATEGORIES, &[CSV], "id\na\n").await;
    assert_eq!(missing.field(), ("/name".to_owned(), "missing-column".to_owned()));
    let detail = missing.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.starts_with("line 1: "), "{detail}");
    assert_eq!(world.stored().await?, [0; 5]);
    Ok(())
}

#[tokio::test]
async fn an_empty_file_has_no_lines() -> anyhow::Result<()> {
    let world = World::create().await?;
    for file in ["", "\n \n\r\n"] {
        assert_eq!(totals(&world.import(PRODUCTS, &[NDJSON], file).await), [0; 5]);
    }
    assert_eq!(totals(&world.import(CATEGORIES, &[CSV], "name,id\n").await), [0; 5]);
    Ok(())
}

/// The rule is the database's alone here, so the whole batch fails at first.
#[tokio::test]
async fn a_record_that_the_database_refuses_takes_no_other_with_it() -> anyhow::Result<()> {
    let world = World::create().await?;
    let rule = "alter table catalog.product add constraint odd check (sku <> 'S3')";
    world.database.connect().await?.execute(rule, &[]).await?;
    let file: String = (1..=5).map(line).collect();
    let answer = world.import(PRODUCTS, &[NDJSON], file).await;
    assert_eq!(totals(&answer), [5, 4, 0, 1, 0]);
    assert_eq!(refusals(&answer), [(3, String::new(), "not-storable".to_owned())]);
    assert_eq!(world.stored().await?, [4, 0, 4, 4, 0]);
    Ok(())
}

#[tokio::test]
async fn imports_of_the_same_records_at_once_do_not_block_each_other() -> anyhow::Result<()> {
    let world = World::create().await?;
    let forth: String = (1..=2000).map(line).collect();
    let back: String = (1..=2000).rev().map(line).collect();
    let other = forth.replace("Product", "Other");
    let files = [forth, back, other];
    let imports = files.into_iter().map(|file| world.import(PRODUCTS, &[NDJSON], file));
    for answer in futures::future::join_all(imports).await {
        assert_eq!(totals(&answer)[3], 0, "{answer:?}");
    }
    let client = world.database.connect().await?;
    let unequal = "select count(*) as n from catalog.product join outbox.current
        on key = sku and topic = 'catalog.products'
        where name <> convert_from(payload, 'UTF8')::jsonb ->> 'name'";
    assert_eq!(client.query_one(unequal, &[]).await?.get::<_, i64>("n"), 0);
    assert_eq!(world.stored().await?[0], 2000);
    Ok(())
}
