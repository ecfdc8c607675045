//! One change is one trace, from the request to every copy; a collector that is gone costs nothing.

mod collector;
mod measured;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::Mesh;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use testkit::within;

use self::collector::{BlackHole, Collector, Span};
use crate::shop;

const SEED: u64 = 77;
const SERVICES: [&str; 6] =
    ["catalog", "pricing", "warehouse", "search-indexer", "gateway", "relay"];
/// Spans are sent every five seconds.
const ARRIVE: Duration = Duration::from_secs(45);
/// Other traces that the span of one batch is linked to, at most.
const LINKS_MAX: usize = 32;
/// Writes whose way is timed.
const TIMED: usize = 20;
/// A machine that others use as well is no stopwatch: a collector that is in the way costs seconds.
const SLACK: u32 = 3;
const FLOOR: Duration = Duration::from_secs(2);

/// Covers: M1, M14, M33, A33.
#[tokio::test]
async fn a_change_is_one_trace_and_a_dead_collector_holds_nobody_up() -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mesh = Mesh::up(&["--empty"])?;
    let quiet = written_to_seen(&mesh, "QUIET").await?;
    measured::names_and_labels_are_as_documented(&mesh, &SERVICES).await?;
    let stopped_quiet = stopped(&mesh)?;

    let collector = Collector::start()?;
    let address = collector.address;
    let endpoint = format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{address}");
    let settings = SERVICES.map(|service| format!("{service}.{endpoint}"));
    let mut arguments = vec!["--empty"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting.as_str()]));
    mesh.start(&arguments)?;
    let url = mesh.url()?;
    within(Duration::from_secs(30), "connections of before are given up", async || {
        Ok(mesh.http().get(format!("{url}/healthz")).send().await?.status().is_success())
    })
    .await;
    one_trace_has_all_hops(&mesh, &collector, &mut random).await?;
    a_batch_is_linked_to_the_traces_of_its_changes(&mesh, &collector, &mut random).await?;
    let spans = collector.spans();
    let asked = |name: &str| spans.iter().any(|span| span.name == name);
    ensure!(!asked("GET /readyz") && !asked("POST /sources/{source}/sync"), "noise is traced");

    drop(collector);
    let closed = written_to_seen(&mesh, "CLOSED").await?;
    let hole = BlackHole::open(address)?;
    shop::product(&mesh, &mesh.url()?, "WAITING").await?;
    hole.was_asked().await?;
    let silent = written_to_seen(&mesh, "SILENT").await?;
    let stopped_silent = stopped(&mesh)?;
    println!(
        "written to seen, median: {quiet:?} without a collector, {closed:?} with its port closed, \
         {silent:?} with one that never answers; stopped after {stopped_quiet:?} and \
         {stopped_silent:?}, {} spans",
        spans.len()
    );
    let bound = (quiet * SLACK).max(quiet + FLOOR);
    ensure!(closed <= bound && silent <= bound, "{closed:?}, {silent:?}, not {bound:?}");
    ensure!(stopped_silent <= stopped_quiet + Duration::from_secs(8), "{stopped_silent:?}");
    Ok(())
}

fn stopped(mesh: &Mesh) -> anyhow::Result<Duration> {
    let began = Instant::now();
    mesh.down()?;
    Ok(began.elapsed())
}

/// The median time from the write of a new product until search shows it.
async fn written_to_seen(mesh: &Mesh, word: &str) -> anyhow::Result<Duration> {
    let url = mesh.url()?;
    let mut took = Vec::new();
    for number in 0..TIMED {
        let sku = format!("{word}-{number}");
        let began = Instant::now();
        shop::product(mesh, &url, &sku).await?;
        within(Duration::from_secs(30), "search shows the new product", async || {
            Ok(shop::found(mesh, &url, &sku).await?.is_some())
        })
        .await;
        took.push(began.elapsed());
    }
    took.sort();
    Ok(took[TIMED / 2])
}

/// A caller's own span: trace and span, as hex.
fn caller(random: &mut StdRng) -> (String, String) {
    let (trace, span): (u128, u64) = (random.random(), random.random());
    (format!("{:032x}", trace | 1), format!("{:016x}", span | 1))
}

async fn write_traced(
    mesh: &Mesh,
    (url, sku): (&str, &str),
    (trace, span): &(String, String),
) -> anyhow::Result<()> {
    // An equal state would change nothing, and so travel nowhere.
    let body = json!({ "name": format!("Traced {sku}"), "categories": [], "attributes": {} });
    let put = mesh.http().put(format!("{url}/api/v1/products/{sku}")).json(&body);
    let put = put.header("traceparent", format!("00-{trace}-{span}-01"));
    put.send().await?.error_for_status()?;
    Ok(())
}

async fn one_trace_has_all_hops(
    mesh: &Mesh,
    collector: &Collector,
    random: &mut StdRng,
) -> anyhow::Result<()> {
    let url = mesh.url()?;
    // What is in the cache of the gateway has something to be invalidated.
    shop::product(mesh, &url, "TRACED").await?;
    within(Duration::from_secs(30), "the view is there", async || {
        Ok(shop::view(mesh, &url, "TRACED").await?.0.is_success())
    })
    .await;
    // Two changes in one batch would be one trace, and a link to the other.
    let arrived = mesh.syncline(&["where", "product", "TRACED", "--wait", "30"])?;
    ensure!(arrived.status.success(), "{}", String::from_utf8_lossy(&arrived.stdout));
    let caller = caller(random);
    write_traced(mesh, (&url, "TRACED"), &caller).await?;
    let (trace, root) = &caller;
    // Pushes usually; where one is late the reader has it, which is as good.
    let (put, consumers) = ("PUT /api/v1/products/{sku}", ["search-indexer", "gateway", "pricing"]);
    let mut hops = vec![("gateway", put), ("catalog", put), ("catalog", "outbox.append")];
    hops.extend([("relay", "relay.publish"), ("gateway", "cache.invalidate")]);
    hops.extend(["search-indexer", "gateway"].map(|service| (service, "inbox.clean")));
    for step in ["inbox.apply", "inbox.confirm"] {
        hops.extend(consumers.map(|service| (service, step)));
        hops.push(("warehouse", step));
    }
    within(ARRIVE, "all hops of one change arrive in one trace", async || {
        let spans = collector.of_trace(trace);
        let missing = hops.iter().find(|(service, name)| {
            !spans.iter().any(|span| span.service == *service && span.name == *name)
        });
        ensure!(missing.is_none(), "{missing:?} is not among {:?}", names(&spans));
        let taken = |service: &str| {
            let by = ["inbox.deliver", "inbox.read"];
            spans.iter().any(|span| span.service == service && by.contains(&span.name.as_str()))
        };
        ensure!(consumers.iter().all(|service| taken(service)), "{:?}", names(&spans));
        let ids = spans.iter().map(|span| span.id.as_str());
        let known: BTreeSet<&str> = ids.chain([root.as_str()]).collect();
        let loose = spans.iter().find(|span| !known.contains(span.parent.as_str()));
        ensure!(loose.is_none(), "{loose:?} hangs in the air");
        Ok(true)
    })
    .await;
    let spans = collector.of_trace(trace);
    println!("one change, one trace of {} spans: {:?}", spans.len(), names(&spans));
    Ok(())
}

fn names(spans: &[Span]) -> Vec<String> {
    let mut names: Vec<_> = spans.iter().map(|s| format!("{} {}", s.service, s.name)).collect();
    names.sort();
    names
}

/// While the relay is away changes gather; then they travel together.
async fn a_batch_is_linked_to_the_traces_of_its_changes(
    mesh: &Mesh,
    collector: &Collector,
    random: &mut StdRng,
) -> anyhow::Result<()> {
    let (url, many) = (mesh.url()?, 2 * LINKS_MAX);
    let mut traces = BTreeSet::new();
    let without = mesh.without("relay")?;
    for number in 0..many {
        let caller = caller(random);
        write_traced(mesh, (&url, &format!("LINKED-{number}")), &caller).await?;
        traces.insert(caller.0);
    }
    drop(without);
    for (service, steps) in [
        ("relay", ["relay.publish", "relay.publish"]),
        ("search-indexer", ["inbox.deliver", "inbox.read"]),
    ] {
        within(ARRIVE, &format!("a batch of {service} is linked"), async || {
            let spans = collector.spans();
            let batches = spans
                .iter()
                .filter(|span| span.service == service && steps.contains(&span.name.as_str()));
            let most = batches.max_by_key(|span| span.links.len()).context("no batch")?;
            ensure!(traces.contains(&most.trace), "{most:?} belongs to no change");
            ensure!(most.links.iter().all(|link| traces.contains(link)), "{most:?}");
            ensure!(most.links.len() == LINKS_MAX, "{} links", most.links.len());
            Ok(true)
        })
        .await;
    }
    Ok(())
}
