//! A file with good and bad lines goes in by the command line; the good ones are everywhere.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::{Ends, Mesh};
use serde_json::{Value, json};
use testkit::within;

const LINES: usize = 10_000;
/// Of each ten kinds so many lines.
const BAD: [(Kind, usize); 10] = [
    (Kind::BrokenJson, 6),
    (Kind::NoObject, 6),
    (Kind::UnknownField, 6),
    (Kind::MissingField, 6),
    (Kind::WrongType, 6),
    (Kind::IllegalKey, 6),
    (Kind::LongKey, 6),
    (Kind::NumberOutOfRange, 5),
    (Kind::OtherEncoding, 5),
    (Kind::TooLong, 5),
];
/// The lines that are too long have 10 MB together: who keeps them grows by more than this. That
/// memory is flat over any number of lines is shown by catalog's own tests.
const GROWTH_KIB_MAX: u64 = 8 * 1024;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    BrokenJson,
    NoObject,
    UnknownField,
    MissingField,
    WrongType,
    IllegalKey,
    LongKey,
    NumberOutOfRange,
    OtherEncoding,
    TooLong,
}

impl Kind {
    /// The line, and the field that its refusal names, where it names one.
    fn line(self, n: usize) -> (Vec<u8>, Option<&'static str>) {
        let product = |change: &dyn Fn(&mut Value)| {
            let mut product = good(n);
            change(&mut product);
            product.to_string().into_bytes()
        };
        match self {
            Self::BrokenJson => (format!("{{\"sku\":\"BAD-{n}\",").into_bytes(), None),
            Self::NoObject => (b"[1,2]".to_vec(), None),
            Self::UnknownField => (product(&|p| p["colour"] = json!("red")), Some("/colour")),
            Self::MissingField => {
                let line = json!({"sku": format!("BAD-{n}"), "categories": [], "attributes": {}});
                (line.to_string().into_bytes(), Some("/name"))
            }
            Self::WrongType => (product(&|p| p["name"] = json!(7)), Some("/name")),
            Self::IllegalKey => (product(&|p| p["sku"] = json!("A B")), Some("/sku")),
            Self::LongKey => (product(&|p| p["sku"] = json!("x".repeat(65))), Some("/sku")),
            Self::NumberOutOfRange => {
                let line = product(&|p| p["attributes"]["weight"] = json!(1e300));
                (line, Some("/attributes/weight"))
            }
            Self::OtherEncoding => {
                let mut line = product(&|_| {});
                let end = line.len() - 2;
                line.splice(end..end, *b",\"\xe9\":1");
                (line, None)
            }
            Self::TooLong => (product(&|p| p["name"] = json!("x".repeat(2_000_000))), None),
        }
    }
}

fn good(n: usize) -> Value {
    json!({
        "sku": format!("IMP-{n:05}"),
        "name": format!("Imported thing {n}"),
        "categories": ["imported"],
        "attributes": { "batch": n / 100 },
    })
}

/// Covers: B1.
#[tokio::test]
async fn ten_thousand_lines_are_stored_everywhere_but_for_the_bad_ones() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty"])?;
    let (file, bad) = write_file(&mesh)?;
    let good = LINES - bad.len();
    let owners = ["catalog", "gateway"];
    warm_up(&mesh).await?;
    let before = owners.map(|name| peak_kib(&mesh, name));

    let start = Instant::now();
    let first = import(&mesh, &file)?;
    let took = start.elapsed();
    expect(&first, &bad)?;
    for (name, before) in owners.iter().zip(before) {
        let grown = peak_kib(&mesh, name)?.saturating_sub(before?);
        println!("{name}: peak memory grew by {grown} KiB");
        ensure!(grown < GROWTH_KIB_MAX, "{name} grew by {grown} KiB");
    }
    everywhere(&mesh, good + 1).await?;
    println!("imported {LINES} lines in {took:.1?}, everywhere after {:.1?}", start.elapsed());

    let again = import(&mesh, &file)?;
    expect(&again, &bad).context("the same file under the same key")?;
    let mut products = Ends::open(&mesh, "catalog.products", "search-indexer").await?;
    let books = products.books().await?;
    ensure!(books.numbers == i64::try_from(good + 1)?, "the repeat changed something: {books:?}");
    Ok(())
}

/// Pools and caches of the services are filled once, whatever is imported.
async fn warm_up(mesh: &Mesh) -> anyhow::Result<()> {
    let url = format!("{}/api/v1/products/import", mesh.url()?);
    let line = json!({"sku": "WARM", "name": "Warm", "categories": [], "attributes": {}});
    let sent = mesh.http().post(url).header("content-type", "application/x-ndjson");
    let answer = sent.body(format!("{line}\n")).send().await?.error_for_status()?;
    let answer: Value = answer.json().await?;
    ensure!(answer["stored"] == 1, "{answer}");
    Ok(())
}

/// Writes the file; answers the field that each bad line's refusal must name.
fn write_file(mesh: &Mesh) -> anyhow::Result<(String, BTreeMap<usize, Option<&'static str>>)> {
    let path = mesh.home().join("products.ndjson");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    let kinds: Vec<Kind> =
        BAD.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count)).collect();
    // Spread evenly; the first line is good, since its fields say what the file holds.
    let step = (LINES - 2) / (kinds.len() - 1);
    let mut bad = BTreeMap::new();
    let mut next = kinds.iter();
    for n in 1..=LINES {
        let due = n >= 2 && (n - 2) % step == 0;
        match due.then(|| next.next()).flatten() {
            Some(kind) => {
                let (line, field) = kind.line(n);
                file.write_all(&line)?;
                bad.insert(n, field);
            }
            None => write!(file, "{}", good(n))?,
        }
        file.write_all(b"\n")?;
    }
    file.flush()?;
    ensure!(bad.len() == 57, "{} bad lines", bad.len());
    Ok((path.display().to_string(), bad))
}

/// What the command line prints; it says by its code that some lines were refused.
fn import(mesh: &Mesh, file: &str) -> anyhow::Result<Value> {
    let output = mesh.syncline(&["import", file, "--json"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "{}: {said}", output.status);
    serde_json::from_slice(&output.stdout).context("read what syncline printed")
}

fn expect(answer: &Value, bad: &BTreeMap<usize, Option<&str>>) -> anyhow::Result<()> {
    let count = |name: &str| answer[name].as_u64().with_context(|| format!("{name}: {answer}"));
    ensure!(count("lines")? == u64::try_from(LINES)?, "{answer}");
    ensure!(count("stored")? == u64::try_from(LINES - bad.len())?, "{answer}");
    ensure!(count("refused")? == u64::try_from(bad.len())?, "{answer}");
    let refusals = answer["refusals"].as_array().context("no refusals")?;
    ensure!(refusals.len() == bad.len(), "{} refusals", refusals.len());
    for (refusal, (line, field)) in refusals.iter().zip(bad) {
        ensure!(refusal["line"].as_u64() == Some(u64::try_from(*line)?), "{refusal}, not {line}");
        ensure!(field.is_none_or(|field| refusal["field"] == field), "{refusal}, not {field:?}");
        let is_told = |name: &str| refusal[name].as_str().is_some_and(|text| !text.is_empty());
        ensure!(is_told("code") && is_told("reason"), "{refusal}");
    }
    Ok(())
}

/// At the owner, in the index, at the gateway, and known to pricing and warehouse.
async fn everywhere(mesh: &Mesh, products: usize) -> anyhow::Result<()> {
    for consumer in ["search-indexer", "gateway", "pricing", "warehouse"] {
        let ends = Ends::open(mesh, "catalog.products", consumer).await?;
        ends.settle(Duration::from_secs(60)).await;
        let equal = ends.equal().await?;
        ensure!(equal.live == products, "{consumer}: {equal:?}");
    }
    let url = mesh.url()?;
    within(Duration::from_secs(10), "all of them are found", async || {
        let found = mesh.get(&url, "/api/v1/search?limit=1").await?;
        Ok(found["total"].as_u64() == u64::try_from(products).ok())
    })
    .await;
    Ok(())
}

/// The most memory that a service has held so far.
fn peak_kib(mesh: &Mesh, name: &str) -> anyhow::Result<u64> {
    let pid = mesh.part(name)?.pid.with_context(|| format!("{name} does not run"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).context("no VmHWM")?;
    Ok(kib.parse()?)
}
