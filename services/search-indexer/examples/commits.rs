//! Measures what a commit of the index costs: how long, how much processor time, how many segments.
//!
//! Run it in release mode with the number of documents, of changes in a commit, and of commits.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measurement, read by whoever starts it"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use contracts::{Key, Version};
use search_indexer::{
    Availability, Batch, Category, CommitId, Document, Index as _, Price, Question, Scalar, Sort,
    Tantivy,
};
use uuid::Uuid;

const WINDOW: Duration = Duration::from_millis(50);

fn key(raw: &str) -> Key {
    Key::parse(raw).expect("no control characters")
}

fn document(number: usize, round: usize) -> Document {
    let category = |id: &str, name: &str| Category { id: key(id), name: Some(name.to_owned()) };
    let group = format!("group {}", number % 20);
    let lineage = vec![category(&format!("g{}", number % 20), &group), category("men", "Men")];
    let colors = ["Black", "Gray", "Orange", "Blue", "Red"];
    let text = |value: &str| Scalar::Text(value.to_owned());
    let amount = format!("{}.{:02}", 20 + number % 80, round % 100).parse().expect("an amount");
    let version = |number: usize| {
        Version::try_from(i64::try_from(number).expect("small")).expect("above zero")
    };
    Document {
        sku: key(&format!("S{number:06}")),
        version: version(1),
        name: format!("Product {number} Chaz Kangeroo Hoodie"),
        categories: lineage.iter().take(1).cloned().collect(),
        lineage,
        attributes: BTreeMap::from([
            ("color".to_owned(), text(colors[number % 5])),
            ("size".to_owned(), text(["XS", "S", "M", "L", "XL"][number % 5])),
            ("climate".to_owned(), text("All-Weather")),
            ("material".to_owned(), text("Fleece with a long text on how warm it is outdoors")),
            ("weight".to_owned(), Scalar::Number("0.25".to_owned())),
        ]),
        price: Some(Price {
            version: version(round + 1),
            currency: "USD".parse().expect("a currency"),
            amount,
            effective: amount,
            promotion: None,
            until: None,
        }),
        availability: Availability {
            available: 5,
            locations: 1,
            versions: BTreeMap::from([("nyc".to_owned(), version(1))]),
        },
    }
}

fn words(text: &str) -> Question {
    Question {
        words: Some(text.to_owned()),
        category: None,
        price_min: None,
        price_max: None,
        currency: None,
        in_stock: None,
        sort: Sort::Relevance,
        after: None,
        limit: 20,
    }
}

fn segments(folder: &std::path::Path) -> usize {
    let meta = std::fs::read(folder.join("tantivy/meta.json")).expect("an index");
    let meta: serde_json::Value = serde_json::from_slice(&meta).expect("JSON");
    meta["segments"].as_array().map_or(0, Vec::len)
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let rest: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: u64 = rest[11].parse::<u64>().unwrap_or(0) + rest[12].parse::<u64>().unwrap_or(0);
    Duration::from_millis(ticks * 10)
}

fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let at = ((sorted.len() - 1) as f64 * part) as usize;
    sorted[at].as_secs_f64() * 1e3
}

fn resident_mib() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) / 256
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let number = |at: usize, default: usize| {
        std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (documents, changes, commits) = (number(1, 100_000), number(2, 50), number(3, 400));
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let index = Tantivy::new(folder.path());
    index.open().await.unwrap();
    index.clear().await.unwrap();
    let started = Instant::now();
    for first in (0..documents).step_by(1_000) {
        let documents = (first..(first + 1_000).min(documents)).map(|n| document(n, 0)).collect();
        index.write(Batch { documents, gone: Vec::new() }).await.unwrap();
    }
    index.commit(CommitId(Uuid::now_v7())).await.unwrap();
    println!("filled {documents} in {:?}, {} segments", started.elapsed(), segments(folder.path()));

    let (mut wrote, mut committed, mut found) = (Vec::new(), Vec::new(), Vec::new());
    let mut most = 0;
    let mut random = 1_u64;
    let before = cpu();
    let started = Instant::now();
    for round in 1..=commits {
        let turn = Instant::now();
        let mut numbers = std::collections::BTreeSet::new();
        for _ in 0..changes {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let uniform = (random >> 33) as f64 / (1_u64 << 31) as f64;
            // About as Zipf's law has it.
            numbers.insert((documents as f64).powf(uniform) as usize % documents);
        }
        let documents = numbers.into_iter().map(|n| document(n, round)).collect();
        let at = Instant::now();
        index.write(Batch { documents, gone: Vec::new() }).await.unwrap();
        wrote.push(at.elapsed());
        let at = Instant::now();
        index.commit(CommitId(Uuid::now_v7())).await.unwrap();
        committed.push(at.elapsed());
        most = most.max(segments(folder.path()));
        if round % 10 == 0 {
            let at = Instant::now();
            let page = index.search(words("hoodie red")).await.unwrap();
            assert!(page.total > 0);
            found.push(at.elapsed());
        }
        tokio::time::sleep(WINDOW.saturating_sub(turn.elapsed())).await;
    }
    let (took, used) = (started.elapsed(), cpu() - before);
    for (name, times) in [("write", &mut wrote), ("commit", &mut committed), ("search", &mut found)]
    {
        times.sort_unstable();
        println!(
            "{name}: p50 {:.1} p95 {:.1} max {:.1} ms",
            quantile(times, 0.5),
            quantile(times, 0.95),
            quantile(times, 1.0)
        );
    }
    println!(
        "{commits} commits in {took:.2?} ({:.1}/s), processor {:.1} ms each ({:.0}% of a core), \
         segments {} at the end, {most} at most, {} MiB resident",
        commits as f64 / took.as_secs_f64(),
        used.as_secs_f64() * 1e3 / commits as f64,
        used.as_secs_f64() / took.as_secs_f64() * 100.0,
        segments(folder.path()),
        resident_mib()
    );
}
