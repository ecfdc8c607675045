//! What a write costs its owner.

use deadpool_postgres::Client;
use outbox::Append;
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use records::{Answer, Demands, Once, Save};
use serde_json::{Value, json};
use service_kit::Precondition;
use testkit::{Database, Trip};
use tokio_postgres::types::ToSql;

use super::{
    Cost, PAYLOAD_BYTES, WRITE, WRITE_CONDITIONAL, WRITE_ONCE, WRITE_WAL_MAX, check, counted,
    logged_so_far, show, source,
};
use crate::origin::TOPIC;

/// A narrow row: the least that an owner keeps of its own beside what it publishes.
const TABLE: &str = "
    create table item (key text primary key, price bigint not null, revision bigint not null);
    grant all on item to syncline_service";

/// Stores the row and appends its change, as the owners do.
const WRITE_AT_ONCE: &str = "
    with saved as (
      insert into item as stored (key, price, revision) values ($2, $10, 1)
      on conflict (key) do update set price = excluded.price, revision = stored.revision + 1
      returning revision
    )
    select revision > 1 as existed,
           outbox.append($1, $2, $3, $4, $5, $6, $7, $8, $9) as version
      from saved";

/// Stores the row and says what is published of it, as the owners do.
const SAVE: &str = "
    with saved as (
      insert into item as stored (key, price, revision) values ($1, $3, 1)
      on conflict (key) do update set price = excluded.price, revision = stored.revision + 1
      returning revision
    )
    select saved.revision > 1 as existed, published.version,
           left(encode(sha256(published.payload), 'hex'), 8) as digest
      from saved
      left join outbox.current as published
        on published.topic = $2 and published.key = $1 and not published.deleted";

/// Writes until all pages of a few rows were written since the last checkpoint.
const WARM: usize = 200;
/// Writes of one measurement.
const WRITES: usize = 101;

async fn owner() -> anyhow::Result<Database> {
    let database = source().await?;
    database.migrate("records", records::MIGRATIONS).await?;
    database.connect().await?.batch_execute(TABLE).await?;
    Ok(database)
}

/// A payload of exactly the size that the target names, of which no part is like the last one's.
fn payload(number: usize) -> anyhow::Result<Value> {
    let frame = serde_json::to_vec(&json!({"name": "", "size": number}))?.len();
    let letters = StdRng::seed_from_u64(u64::try_from(number)?).sample_iter(Alphanumeric);
    let name: String = letters.take(PAYLOAD_BYTES - frame).map(char::from).collect();
    let value = json!({"name": name, "size": number});
    anyhow::ensure!(serde_json::to_vec(&value)?.len() == PAYLOAD_BYTES);
    Ok(value)
}

async fn write(client: &Client, number: usize, demands: Demands) -> anyhow::Result<Answer> {
    let (key, value) = (format!("K{:03}", number % 20), payload(number)?);
    let price = i64::try_from(number)?;
    let record: [&(dyn ToSql + Sync); 1] = [&price];
    let save = Save { what: "item", at_once: WRITE_AT_ONCE, alone: SAVE, record: &record };
    let change = Append::upsert(TOPIC, &key, &value)?;
    Ok(records::write(client, save, change, &demands).await?)
}

/// What the write of this number demands.
type Demanded = fn(usize) -> Demands;

fn plain(_: usize) -> Demands {
    Demands { condition: Precondition::None, once: None }
}

/// Whatever is there: so the write waits to see it.
fn conditional(_: usize) -> Demands {
    Demands { condition: Precondition::NoneOf(Vec::new()), once: None }
}

fn once(number: usize) -> Demands {
    let request = contracts::Digest::of(&number.to_be_bytes());
    let once = Some(Once { key: format!("request {number}"), request });
    Demands { condition: Precondition::None, once }
}

#[tokio::test]
async fn a_write_costs_one_round_trip_and_with_a_condition_two() -> anyhow::Result<()> {
    let database = owner().await?;
    let (wire, pool) = counted(&database.url(), 1)?;
    let client = pool.get().await?;
    let writes: [(&str, Cost, Demanded); 3] = [
        ("a write", WRITE, plain),
        ("a conditional write", WRITE_CONDITIONAL, conditional),
        ("a write once", WRITE_ONCE, once),
    ];
    for (name, expected, demands) in writes {
        let mut written: Vec<Vec<Trip>> = Vec::new();
        for number in 0..4 {
            wire.take();
            let answer = write(&client, number, demands(number)).await?;
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            written.push(wire.take());
        }
        // The first one prepared the statements.
        show(name, &written[1]);
        for trips in &written[1..] {
            check(name, trips, expected);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_write_has_little_to_log() -> anyhow::Result<()> {
    let database = owner().await?;
    let (pool, log) = (database.pool(1)?, database.connect().await?);
    let client = pool.get().await?;
    let mut number = 0;
    let mut measured = Vec::new();
    for count in [WARM, WRITES, WRITES, WRITES, WRITES, WRITES] {
        let mut logged = Vec::with_capacity(count);
        for _ in 0..count {
            let before = logged_so_far(&log).await?;
            write(&client, number, plain(number)).await?;
            logged.push(logged_so_far(&log).await? - before);
            number += 1;
        }
        logged.sort_unstable();
        let (tenth, median) = (logged[count / 10], logged[count / 2]);
        println!("WAL of {count} writes: {} bytes least, {tenth}, {median} median", logged[0]);
        measured.push(tenth);
    }
    // A tenth of the writes at least, not the median: others log in the same cluster meanwhile, and
    // after a checkpoint the next writes log whole pages.
    let least = measured[1..].iter().min().unwrap();
    assert!(*least <= WRITE_WAL_MAX, "{least} bytes");
    // That it was measured at all: the payload is logged twice.
    assert!(*least > 2 * i64::try_from(PAYLOAD_BYTES)?, "{least} bytes");
    Ok(())
}
