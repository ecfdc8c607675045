//! Many clients that write, delete and re-create records of all owners over HTTP at once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A workload: who writes how much to what.
#[derive(Debug, Clone)]
pub struct Writers {
    /// The gateway's address.
    pub url: String,
    /// What is written, by chance among these.
    pub topics: &'static [&'static str],
    /// Clients that write at once.
    pub clients: u32,
    /// Writes of all clients together.
    pub writes: u32,
    /// Different products that they write to.
    pub skus: u32,
    /// Of a hundred writes, how many delete.
    pub delete_percent: u32,
    /// Decides everything else.
    pub seed: u64,
}

/// What the owners answered, by topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, Answers>);

/// What one owner answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// Records created, also again after a delete.
    pub created: u32,
    /// Records replaced.
    pub replaced: u32,
    /// Records deleted.
    pub deleted: u32,
    /// Deletes of what was not there.
    pub absent: u32,
}

impl Answers {
    /// Answers that changed something; no two writes say the same.
    pub fn changes(&self) -> u32 {
        self.created + self.replaced + self.deleted
    }

    /// Records that are there in the end.
    pub fn live(&self) -> u32 {
        self.created - self.deleted
    }
}

impl Tally {
    /// All answers together.
    pub fn total(&self) -> u32 {
        self.0.values().map(|one| one.changes() + one.absent).sum()
    }

    /// The answers of one topic.
    pub fn of(&self, topic: &str) -> Answers {
        self.0.get(topic).copied().unwrap_or_default()
    }

    /// Adds the answers of others.
    pub fn add(&mut self, other: &Self) {
        for (topic, more) in &other.0 {
            let sum = self.0.entry(topic).or_default();
            sum.created += more.created;
            sum.replaced += more.replaced;
            sum.deleted += more.deleted;
            sum.absent += more.absent;
        }
    }

    fn note(&mut self, topic: &'static str, status: StatusCode) -> anyhow::Result<()> {
        let answers = self.0.entry(topic).or_default();
        match status {
            StatusCode::CREATED => answers.created += 1,
            StatusCode::OK => answers.replaced += 1,
            StatusCode::NO_CONTENT => answers.deleted += 1,
            StatusCode::NOT_FOUND => answers.absent += 1,
            other => bail!("answered with {other}"),
        }
        Ok(())
    }
}

/// Answers that leave open what became of a write, the last of a sending that is still at work.
const AGAIN: [StatusCode; 4] = [
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
    StatusCode::CONFLICT,
];

impl Writers {
    /// Runs the workload to its end; every write must be answered.
    pub async fn run(&self, http: &reqwest::Client) -> anyhow::Result<Tally> {
        let mut clients = JoinSet::new();
        for client in 0..self.clients {
            let share = self.writes / self.clients + u32::from(client < self.writes % self.clients);
            clients.spawn(self.clone().client(http.clone(), client, share));
        }
        let mut tally = Tally::default();
        while let Some(done) = clients.join_next().await {
            tally.add(&done??);
        }
        Ok(tally)
    }

    async fn client(self, http: reqwest::Client, client: u32, share: u32) -> anyhow::Result<Tally> {
        let mut random = StdRng::seed_from_u64(self.seed.wrapping_add(u64::from(client)));
        let mut tally = Tally::default();
        for write in 0..share {
            let topic = self.topics.choose(&mut random).context("nothing is written")?;
            let sku = format!("SKU-{:04}", random.random_range(0..self.skus));
            let (path, body) = record(topic, &sku, [self.clients, client, write])?;
            let url = format!("{}{path}", self.url);
            let request = if random.random_range(0..100) < self.delete_percent {
                http.delete(&url)
            } else {
                http.put(&url).json(&body)
            };
            let key = format!("writers-{}-{client}-{write}", self.seed);
            let request = request.header("idempotency-key", key);
            let status = send(request).await.with_context(|| url.clone())?;
            let noted = tally.note(topic, status);
            noted.with_context(|| format!("{url}, seed {}", self.seed))?;
        }
        Ok(tally)
    }
}

/// Where a record lies and what is written; no two clients and no two writes say the same.
fn record(
    topic: &str,
    sku: &str,
    [clients, client, write]: [u32; 3],
) -> anyhow::Result<(String, Value)> {
    let one = write * clients + client;
    Ok(match topic {
        "catalog.products" => (
            format!("/api/v1/products/{sku}"),
            json!({
                "name": format!("Product {sku}, write {write} of client {client}"),
                "categories": [],
                "attributes": { "client": client, "write": write },
            }),
        ),
        "pricing.prices" => (
            format!("/api/v1/prices/{sku}"),
            json!({ "currency": "USD", "amount": format!("{}.{:02}", one / 100, one % 100) }),
        ),
        "warehouse.stock" => {
            (format!("/api/v1/stock/{sku}/store-{}", one % 3), json!({ "on_hand": one }))
        }
        other => bail!("nobody here writes {other}"),
    })
}

/// Asks an unavailable mesh again for a while; by the key a write that was carried out although its
/// answer was lost is answered as it was the first time.
async fn send(request: reqwest::RequestBuilder) -> anyhow::Result<StatusCode> {
    for _ in 0..600 {
        let again = request.try_clone().context("a request with a streamed body")?;
        match again.send().await {
            Ok(answer) if !AGAIN.contains(&answer.status()) => return Ok(answer.status()),
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    bail!("the mesh did not answer a write for 10 s")
}
