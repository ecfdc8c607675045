//! The sample is whole, and loading it survives what a starting mesh answers.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};

use super::*;

fn is_key(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}

fn all(collection: &str) -> Vec<Map<String, Value>> {
    rows(collection).unwrap()
}

/// The names that a field holds, each of them a legal key and there once.
fn keys(rows: &[Map<String, Value>], field: &str) -> BTreeSet<String> {
    let keys: BTreeSet<String> =
        rows.iter().map(|row| row[field].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), rows.len());
    assert!(keys.iter().all(|key| is_key(key)));
    keys
}

#[test]
fn every_key_is_legal_and_unique_and_every_reference_leads_somewhere() {
    let mut categories = BTreeSet::new();
    for category in all("categories") {
        let parent = category["parent"].as_str();
        assert!(parent.is_none_or(|parent| categories.contains(parent)), "before its parent");
        assert!(!category["name"].as_str().unwrap().is_empty());
        categories.insert(category["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(categories, keys(&all("categories"), "id"));
    let products = all("products");
    for product in &products {
        assert!(!product["name"].as_str().unwrap().is_empty());
        for category in product["categories"].as_array().unwrap() {
            assert!(categories.contains(category.as_str().unwrap()), "{category}");
        }
        for (name, value) in product["attributes"].as_object().unwrap() {
            assert!(is_key(name) && (value.is_string() || value.is_number()), "{name}");
        }
    }
    assert!(products.len() > 1000);
}

#[test]
fn every_product_has_a_price_and_stock_lies_in_twelve_stores() {
    let products = keys(&all("products"), "sku");
    assert_eq!(keys(&all("prices"), "sku"), products);
    let locations = keys(&all("locations"), "id");
    let mut used = BTreeSet::new();
    for stock in all("stock") {
        assert!(products.contains(stock["sku"].as_str().unwrap()));
        assert!(stock["on_hand"].as_u64().is_some_and(|on_hand| on_hand <= 100));
        used.insert(stock["location"].as_str().unwrap().to_owned());
    }
    assert_eq!((locations.len(), used), (12, locations));
}

#[test]
fn everything_arrives_though_some_answers_say_unavailable() {
    let (address, served) = server(|nth| if nth % 3 == 0 { 503 } else { 200 });
    let mut last = (0, 0);
    load(&address, &mut |_, done, of| last = (done, of)).unwrap();
    let of = FILES.iter().map(|(_, file)| file.lines().count()).sum();
    let parts: usize = FILES.iter().map(|(_, file)| file.lines().count().div_ceil(LINES)).sum();
    assert_eq!(last, (of, of));
    assert!(served.load(Ordering::SeqCst) > parts, "no try was repeated");
}

#[test]
fn a_refusal_ends_the_load_and_says_of_what_and_why() {
    let (address, _) = server(|nth| if nth == 3 { 422 } else { 200 });
    let error = load(&address, &mut |_, _, _| {}).unwrap_err().to_string();
    assert!(error.contains("/api/v1/products/import") && error.contains("422"), "{error}");
}

/// An HTTP server that answers its n-th request with `status(n)`.
fn server(status: fn(usize) -> u16) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || serve(&stream, &count, status));
        }
    });
    (address, served)
}

fn serve(stream: &TcpStream, count: &AtomicUsize, status: fn(usize) -> u16) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let status = status(count.fetch_add(1, Ordering::SeqCst) + 1);
        let said = r#"{"refused":0,"refusals":[]}"#;
        let length = said.len();
        let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\n\r\n{said}");
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
