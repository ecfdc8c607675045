//! Many commands in no order: afterwards every row is the sum of what was accepted, and what is
//! published is the row.

#![expect(clippy::panic, reason = "a surprise fails the test")]

use std::collections::BTreeMap;

use futures::future::join_all;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

use crate::world::{RESERVATIONS, World};

const WRITERS: u64 = 12;
const COMMANDS: usize = 60;

/// What the accepted commands of one writer add up to, by the path of the stock: on hand and
/// reserved.
#[derive(Debug, Default)]
struct Sums(BTreeMap<String, (i64, i64)>);

impl Sums {
    fn add(&mut self, path: &str, on_hand: i64, reserved: i64) {
        let sum = self.0.entry(path.to_owned()).or_default();
        *sum = (sum.0 + on_hand, sum.1 + reserved);
    }
}

/// A reservation that this writer still has to end: where it is, whose stock, how much.
type Open = (String, String, i64);

async fn write(world: &World, seed: u64) -> Sums {
    let (mut random, mut sums) = (StdRng::seed_from_u64(seed), Sums::default());
    let mut open: Vec<Open> = Vec::new();
    for _ in 0..COMMANDS {
        let (sku, location) = (random.random_range(0..3), random.random_range(0..2));
        let stock = format!("/api/v1/stock/{sku}/s{location}");
        let quantity = random.random_range(1..6);
        match random.random_range(0..5) {
            0 | 1 => {
                let delta = if random.random_bool(0.5) { quantity } else { -quantity };
                let body = json!({ "delta": delta, "reason": "random" }).to_string();
                let answer = world.post(&format!("{stock}/adjustments"), &body).await;
                match answer.status.as_u16() {
                    200 => sums.add(&stock, delta, 0),
                    409 => assert!(delta < 0, "{answer:?}"),
                    _ => panic!("{answer:?}"),
                }
            }
            2 | 3 => {
                let (sku, location) = (sku.to_string(), format!("s{location}"));
                let body = json!({ "sku": sku, "location": location, "quantity": quantity,
                    "expires_in_seconds": 600 });
                let answer = world.post(RESERVATIONS, &body.to_string()).await;
                match answer.status.as_u16() {
                    201 => {
                        sums.add(&stock, 0, quantity);
                        open.push((answer.header("location").to_owned(), stock, quantity));
                    }
                    409 => {}
                    _ => panic!("{answer:?}"),
                }
            }
            _ => end(world, &mut random, &mut open, &mut sums).await,
        }
    }
    sums
}

/// Ends one of the reservations by its holder, or by its time and a worker of this writer's own.
async fn end(world: &World, random: &mut StdRng, open: &mut Vec<Open>, sums: &mut Sums) {
    if open.is_empty() {
        return;
    }
    let (path, stock, quantity) = open.swap_remove(random.random_range(0..open.len()));
    match random.random_range(0..3) {
        0 => {
            assert_eq!(world.delete(&path).await.status, 204);
            sums.add(&stock, 0, -quantity);
        }
        1 => {
            assert_eq!(world.post(&format!("{path}/fulfilment"), "").await.status, 200);
            sums.add(&stock, -quantity, -quantity);
        }
        _ => {
            let id = path.rsplit('/').next().unwrap_or_default().to_owned();
            let over = "update warehouse.reservation set expires_at = now() where id::text = $1";
            let client = world.database.connect().await.expect("a connection");
            assert_eq!(client.execute(over, &[&id]).await.expect("an update"), 1);
            // Another writer's worker may be the one that ends it.
            testkit::eventually("the reservation ended", || async {
                world.expiry().turn().await.map_err(|error| anyhow::anyhow!(error))?;
                let ended = "select from warehouse.reservation
                    where id::text = $1 and state = 'expired'";
                Ok(client.query_opt(ended, &[&id]).await?.is_some())
            })
            .await;
            sums.add(&stock, 0, -quantity);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_row_is_the_sum_of_what_was_accepted_and_what_is_published() -> anyhow::Result<()> {
    let world = World::create().await?;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let writers = (0..WRITERS).map(|writer| write(&world, seed.wrapping_add(writer)));
    let mut total = Sums::default();
    for sums in join_all(writers).await {
        for (path, (on_hand, reserved)) in sums.0 {
            total.add(&path, on_hand, reserved);
        }
    }
    assert!(!total.0.is_empty());
    for (path, (on_hand, reserved)) in total.0 {
        let stock = world.get(&path).await.json();
        let read = (stock["on_hand"].as_i64(), stock["reserved"].as_i64());
        assert_eq!(read, (Some(on_hand), Some(reserved)), "{path}, seed {seed}");
    }
    // Each accepted change is one version of its record, without a gap.
    let client = world.database.connect().await?;
    let gaps = "select key from outbox.change group by topic, key
        having count(*) <> max(version) or count(distinct version) <> count(*)";
    assert_eq!(client.query(gaps, &[]).await?.len(), 0, "seed {seed}");
    world.assert_sound().await
}
