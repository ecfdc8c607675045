//! The sample is whole, and loading it survives what a starting mesh answers.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;

fn is_key(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}

#[test]
fn every_key_is_legal_and_unique_and_every_reference_leads_somewhere() {
    let mut categories = BTreeSet::new();
    for record in records(CATEGORIES, "categories", "id").unwrap() {
        let id = record.path.rsplit('/').next().unwrap().to_owned();
        assert!(is_key(&id), "{id}");
        let parent = record.body["parent"].as_str();
        assert!(parent.is_none_or(|parent| categories.contains(parent)), "{id} before its parent");
        assert!(!record.body["name"].as_str().unwrap().is_empty());
        assert!(categories.insert(id));
    }
    let mut skus = BTreeSet::new();
    for record in records(PRODUCTS, "products", "sku").unwrap() {
        let sku = record.path.rsplit('/').next().unwrap().to_owned();
        assert!(is_key(&sku), "{sku}");
        assert!(!record.body["name"].as_str().unwrap().is_empty());
        for category in record.body["categories"].as_array().unwrap() {
            assert!(categories.contains(category.as_str().unwrap()), "{sku}: {category}");
        }
        for (name, value) in record.body["attributes"].as_object().unwrap() {
            assert!(is_key(name) && (value.is_string() || value.is_number()), "{sku}: {name}");
        }
        assert!(skus.insert(sku));
    }
    assert!(skus.len() > 1000);
}

#[test]
fn everything_arrives_though_the_first_answers_say_unavailable() {
    let (address, served) = server(|nth| if nth % 7 == 0 { 503 } else { 200 });
    let mut last = (0, 0);
    load(&address, &mut |done, of| last = (done, of)).unwrap();
    let of = CATEGORIES.lines().count() + PRODUCTS.lines().count();
    assert_eq!(last, (of, of));
    assert!(served.load(Ordering::SeqCst) > of, "no try was repeated");
}

#[test]
fn a_refusal_ends_the_load_and_says_which_record_and_why() {
    let (address, _) = server(|nth| if nth == 100 { 422 } else { 200 });
    let error = load(&address, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("/api/v1/products/") && error.contains("422"), "{error}");
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
        let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: 2\r\n\r\n{{}}");
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
