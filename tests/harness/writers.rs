//! Many clients that write, delete and re-create products over HTTP at once.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

/// A workload: who writes how much to what.
#[derive(Debug, Clone)]
pub struct Writers {
    /// The gateway's address.
    pub url: String,
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

/// What the owner answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Products created, also again after a delete.
    pub created: u32,
    /// Products replaced.
    pub replaced: u32,
    /// Products deleted.
    pub deleted: u32,
    /// Deletes of what was not there.
    pub absent: u32,
}

impl Tally {
    /// All answers together.
    pub fn total(&self) -> u32 {
        self.created + self.replaced + self.deleted + self.absent
    }

    fn add(&mut self, other: Self) {
        self.created += other.created;
        self.replaced += other.replaced;
        self.deleted += other.deleted;
        self.absent += other.absent;
    }
}

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
            tally.add(done??);
        }
        Ok(tally)
    }

    async fn client(self, http: reqwest::Client, client: u32, share: u32) -> anyhow::Result<Tally> {
        let mut random = StdRng::seed_from_u64(self.seed.wrapping_add(u64::from(client)));
        let mut tally = Tally::default();
        for write in 0..share {
            let sku = format!("SKU-{:04}", random.random_range(0..self.skus));
            let url = format!("{}/api/v1/products/{sku}", self.url);
            let request = if random.random_range(0..100) < self.delete_percent {
                http.delete(&url)
            } else {
                http.put(&url).json(&json!({
                    "name": format!("Product {sku}, write {write} of client {client}"),
                    "categories": [],
                    "attributes": { "client": client, "write": write },
                }))
            };
            self.note(send(request).await.with_context(|| url.clone())?, &mut tally)?;
        }
        Ok(tally)
    }

    fn note(&self, status: StatusCode, tally: &mut Tally) -> anyhow::Result<()> {
        match status {
            StatusCode::CREATED => tally.created += 1,
            StatusCode::OK => tally.replaced += 1,
            StatusCode::NO_CONTENT => tally.deleted += 1,
            StatusCode::NOT_FOUND => tally.absent += 1,
            other => bail!("a write of seed {} was answered with {other}", self.seed),
        }
        Ok(())
    }
}

/// Every write here is idempotent, so an unavailable mesh is simply asked again for a while.
async fn send(request: reqwest::RequestBuilder) -> anyhow::Result<StatusCode> {
    for _ in 0..100 {
        let again = request.try_clone().context("a request with a streamed body")?;
        match again.send().await {
            Ok(answer) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => {
                return Ok(answer.status());
            }
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    bail!("the mesh did not answer a write for 10 s")
}
