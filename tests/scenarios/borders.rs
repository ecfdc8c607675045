//! Every border of a mesh: strangers are refused at it, and slow callers keep nobody waiting.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::{Mesh, Part};
use reqwest::{Method, StatusCode};
use serde_json::json;
use testkit::{Manner, Slow, allow_connections, within};

use crate::shop;

const SKU: &str = "BORDER-1";
const RECOVERY: Duration = Duration::from_secs(30);
const SLOW: usize = 2_000;
/// Below this, what is measured is the machine.
const FLOOR: Duration = Duration::from_millis(250);
const REQUESTS: usize = 150;
const GIVEN_UP: Duration = Duration::from_secs(20);
/// Other work on the machine may come and go meanwhile; what the fault does is there each time.
const ROUNDS: usize = 4;

/// What a service or a sidecar was started with.
fn environment(part: &Part) -> anyhow::Result<BTreeMap<String, String>> {
    let pid = part.pid.with_context(|| format!("{} does not run", part.name))?;
    let text = fs::read(format!("/proc/{pid}/environ"))?;
    let text = String::from_utf8_lossy(&text);
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// The routes of a service that only sidecars, other services and the operator may use.
fn guarded(service: &str) -> Vec<(Method, &'static str)> {
    let rebuild = (Method::POST, "/sync/rebuild/catalog.products");
    let delivery = (Method::POST, "/events/catalog.products.normal");
    match service {
        "catalog" => Vec::new(),
        "relay" => vec![
            (Method::POST, "/sources/catalog/sync"),
            (Method::GET, "/streams/catalog.products.normal"),
            (Method::GET, "/snapshot/catalog.products"),
        ],
        _ => vec![delivery, rebuild, (Method::POST, "/events/"), (Method::GET, "/events/any")],
    }
}

const AT_SIDECARS: [(Method, &str); 4] = [
    (Method::GET, "/v1.0/metadata"),
    (Method::POST, "/v1.0/publish/pubsub-normal/catalog.products.normal"),
    (Method::GET, "/v1.0/invoke/catalog/method/readyz"),
    (Method::POST, "/v1.0/shutdown"),
];

#[tokio::test]
async fn without_the_right_token_every_guarded_route_answers_401_both_ways() -> anyhow::Result<()> {
    let mesh = Mesh::up(&["--empty"])?;
    let parts = mesh.status()?.parts;
    let mut refused = 0;
    for part in &parts {
        let routes = match part.kind.as_str() {
            "service" => guarded(&part.name),
            "sidecar" => AT_SIDECARS.to_vec(),
            _ => continue,
        };
        let variable = if part.kind == "service" { "APP_API_TOKEN" } else { "DAPR_API_TOKEN" };
        let tokens = environment(part)?;
        let token = tokens.get(variable).with_context(|| format!("{} has none", part.name))?;
        let url = part.url.as_deref().context("it listens")?;
        let almost = token.get(1..).context("a token is long")?;
        for (method, path) in &routes {
            let at = format!("{} {method} {path}", part.name);
            let ask = || mesh.http().request(method.clone(), format!("{url}{path}"));
            for wrong in [None, Some(""), Some("wrong"), Some(almost)] {
                let shown = wrong.map(|token| ("dapr-api-token", token));
                let asked =
                    shown.into_iter().fold(ask(), |ask, (name, token)| ask.header(name, token));
                let status = asked.send().await?.status();
                ensure!(status == StatusCode::UNAUTHORIZED, "{at}: {status} with {wrong:?}");
                refused += 1;
            }
            if !path.ends_with("shutdown") {
                let status = ask().header("dapr-api-token", token).send().await?.status();
                ensure!(status != StatusCode::UNAUTHORIZED, "{at}: refused with the right token");
            }
        }
    }
    println!("{refused} questions without the right token, each answered 401");
    ensure!(refused >= 4 * (4 * 4 + 3 + 6 * 4), "some parts were left out: {refused}");
    // Tokens differ from sidecar to sidecar, so that one service cannot speak for another.
    let sidecars = parts.iter().filter(|part| part.kind == "sidecar");
    let tokens = sidecars.map(|part| Ok(environment(part)?.remove("DAPR_API_TOKEN")));
    let mut tokens = tokens.collect::<anyhow::Result<Vec<_>>>()?;
    tokens.sort();
    tokens.dedup();
    ensure!(tokens.len() == 6, "sidecars share a token");
    Ok(())
}

/// One listener of the mesh, and how slow callers treat it.
struct Border {
    name: String,
    pid: u32,
    address: SocketAddr,
    manners: Vec<Manner>,
    /// Where a healthy caller asks, if by HTTP.
    probe: Option<String>,
}

fn borders(mesh: &Mesh) -> anyhow::Result<Vec<Border>> {
    let mut borders = Vec::new();
    for part in mesh.status()?.parts {
        let (Some(url), Some(pid)) = (part.url.clone(), part.pid) else { continue };
        let address: SocketAddr = url.trim_start_matches("http://").parse()?;
        let mut manners = vec![Manner::Silent, Manner::Head];
        let record = match part.name.as_str() {
            "catalog" | "gateway" => Some("products"),
            "pricing" => Some("prices"),
            "warehouse" => Some("locations"),
            _ => None,
        };
        manners.extend(record.map(|record| Manner::Body(format!("/api/v1/{record}/SLOW"))));
        let is_service = part.kind == "service";
        let path = if is_service { "/readyz" } else { "/v1.0/healthz/outbound" };
        let (name, probe) = (part.name.clone(), Some(format!("{url}{path}")));
        borders.push(Border { name, pid, address, manners, probe });
        if is_service {
            let sidecar = mesh.part(&format!("{}-sidecar", part.name))?;
            let port = environment(&part)?.remove("DAPR_GRPC_PORT").context("no gRPC port")?;
            borders.push(Border {
                name: format!("{} (gRPC)", sidecar.name),
                pid: sidecar.pid.context("it runs")?,
                address: format!("127.0.0.1:{port}").parse()?,
                // A word that is none of HTTP/2 ends the connection.
                manners: vec![Manner::Silent],
                probe: None,
            });
        }
    }
    Ok(borders)
}

/// What 99 of 100 healthy requests took at most: at the border itself, each over a connection of
/// its own, and right through the mesh. One that fails is said, and counts as the slowest.
async fn p99(mesh: &Mesh, url: &str, probe: Option<&str>) -> anyhow::Result<Duration> {
    let mut taken = Vec::with_capacity(REQUESTS);
    for number in 0..REQUESTS {
        let start = Instant::now();
        let request = match (number % 3, probe) {
            (0, Some(probe)) => {
                let fresh = reqwest::Client::builder().timeout(GIVEN_UP).build()?;
                fresh.get(probe)
            }
            (1, _) => {
                let body = json!({ "name": "Thing", "categories": [], "attributes": {} });
                mesh.http().put(format!("{url}/api/v1/products/{SKU}")).json(&body)
            }
            _ => mesh.http().get(format!("{url}/api/v1/views/products/{SKU}")),
        };
        let answered = async {
            let answer = request.send().await?;
            let (status, text) = (answer.status(), answer.text().await?);
            ensure!(status.is_success(), "{status} {text}");
            Ok(())
        };
        match answered.await {
            Ok(()) => taken.push(start.elapsed()),
            Err(error) => {
                println!("request {number} failed after {:?}: {error:#}", start.elapsed());
                taken.push(GIVEN_UP);
            }
        }
    }
    taken.sort_unstable();
    taken.get(REQUESTS * 99 / 100).copied().context("something was measured")
}

fn open_files(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Besets one listener; answers whether healthy requests were as quick as they are without.
async fn beset(mesh: &Mesh, url: &str, border: &Border) -> anyhow::Result<bool> {
    let name = &border.name;
    let before = p99(mesh, url, border.probe.as_deref()).await?;
    let files = open_files(border.pid)?;
    let slow = Slow::open(border.address, SLOW, &border.manners).await?;
    // Not only connected: accepted.
    within(RECOVERY, &format!("{name} has accepted them"), async || {
        Ok(open_files(border.pid)? > files + SLOW - SLOW / 5)
    })
    .await;
    let ask = async || p99(mesh, url, border.probe.as_deref()).await;
    let beside = ask().await?;
    let open = slow.count();
    ensure!(open > SLOW - SLOW / 5, "{name}: only {open} are open");
    println!("{name}: P99 {before:?} alone, {beside:?} beside {open} slow connections");
    drop(slow);
    within(RECOVERY, &format!("{name} has let go of them"), async || {
        Ok(open_files(border.pid)? < files + SLOW / 5)
    })
    .await;
    if beside <= (before * 2).max(FLOOR) {
        return Ok(true);
    }
    // Something else may have begun meanwhile, which is still there.
    let after = ask().await?;
    println!("{name}: P99 {after:?} after");
    Ok(beside <= after * 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_slow_connections_at_any_listener_slow_nobody() -> anyhow::Result<()> {
    allow_connections(SLOW as u64)?;
    let mesh = Mesh::up(&["--empty"])?;
    let url = mesh.url()?;
    shop::product(&mesh, &url, SKU).await?;
    shop::price(&mesh, &url, SKU, "12.00").await?;
    within(RECOVERY, "the view is whole", async || {
        let (status, view) = shop::view(&mesh, &url, SKU).await?;
        Ok(status == StatusCode::OK && view["price"]["amount"] == "12.00")
    })
    .await;
    p99(&mesh, &url, None).await?;
    let borders = borders(&mesh)?;
    ensure!(borders.len() == 18, "{} listeners, and there are 18", borders.len());
    for border in borders {
        let mut is_quick = false;
        for _ in 0..ROUNDS {
            is_quick = beset(&mesh, &url, &border).await?;
            if is_quick {
                break;
            }
        }
        ensure!(is_quick, "{}: healthy requests were slowed down", border.name);
    }
    Ok(())
}
