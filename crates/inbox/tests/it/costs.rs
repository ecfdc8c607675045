//! What each step costs, counted where program and database meet, and without a clock: this test
//! writes, ticks and delivers itself. A change of a cost is a change of this table.

mod consumer;
mod owner;
mod relay;

use std::fmt;

use deadpool_postgres::Pool;
use testkit::{Database, Lockstep, Trip};
use tokio_postgres::Client;

use crate::world;

/// A write: the statement that stores the row appends its change too.
const WRITE: Cost = Cost { statements: 1, trips: 1, commits: 1 };
/// A write that depends on what it meets: `begin` travels with the row's statement, `commit` with
/// the append.
const WRITE_CONDITIONAL: Cost = Cost { statements: 4, trips: 2, commits: 1 };

/// A write under an `Idempotency-Key`: the key is locked and looked up before, the answer is kept
/// after the append, and each of these is waited for.
const WRITE_ONCE: Cost = Cost { statements: 7, trips: 6, commits: 1 };

/// Most WAL of one write, of which the row, the entity's current state and the change have a part
/// each; the target is 1,900.
const WRITE_WAL_MAX: i64 = 1_500;
/// That of a payload of this size, which is logged twice.
const PAYLOAD_BYTES: usize = 384;

/// A tick: one durable statement reads, numbers and advances the fence, whatever it finds.
const TICK: Cost = Cost { statements: 1, trips: 1, commits: 1 };

/// Publishing what fits one envelope: the tick answered it.
const NOTHING: Cost = Cost { statements: 0, trips: 0, commits: 0 };

/// Publishing more than that: one reading, however many envelopes are cut of it.
const READING: Cost = Cost { statements: 1, trips: 1, commits: 1 };

/// Most changes in one envelope, which is handed to the bus once.
const ENVELOPE_CHANGES: usize = 100;

/// A delivery: `begin`, position, copy and gate; the projection, which has one statement here;
/// dirty keys, versions with the books, and `commit`.
const DELIVERY_MAX: Cost = Cost { statements: 8, trips: 3, commits: 1 };

/// A batch of dirty keys: it is read; `begin`, what was cleaned is forgotten and noted, `commit`
/// travel together.
const CLEANING_MAX: Cost = Cost { statements: 5, trips: 2, commits: 2 };

/// What a step costs the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    statements: usize,
    trips: usize,
    commits: usize,
}

impl Cost {
    fn of<'a>(trips: impl IntoIterator<Item = &'a Trip>) -> Self {
        let mut cost = Self { statements: 0, trips: 0, commits: 0 };
        for trip in trips {
            // To ask a session whether it lives is no part of a step.
            if !trip.statements.is_empty() || !trip.prepared.is_empty() {
                cost.statements += trip.statements.len();
                cost.trips += 1;
                cost.commits += trip.commits;
            }
        }
        cost
    }

    /// Whether it costs as much in nothing.
    fn is_within(self, most: Self) -> bool {
        self.statements <= most.statements
            && self.trips <= most.trips
            && self.commits <= most.commits
    }
}

/// Says what a step cost, and fails where that is not what the table says.
#[expect(clippy::print_stdout, reason = "figures are part of what a passing test shows")]
#[track_caller]
fn check(step: &str, trips: &[Trip], expected: Cost) {
    let cost = Cost::of(trips);
    println!("{step}: {cost}");
    assert_eq!(cost, expected, "{step}:\n{}", lines(trips));
}

/// Says of which statements a step consists.
#[expect(clippy::print_stdout, reason = "figures are part of what a passing test shows")]
fn show(step: &str, trips: &[Trip]) {
    println!("{step}:\n{}", lines(trips));
}

/// The beginning of each statement, a line for each round trip.
fn lines(trips: &[Trip]) -> String {
    let line = |trip: &Trip| {
        let beginning = |sql: &String| sql.chars().take(60).collect::<String>();
        let prepared = trip.prepared.iter().map(|sql| format!("prepare {}", beginning(sql)));
        let said: Vec<_> = prepared.chain(trip.statements.iter().map(beginning)).collect();
        format!("    {}", said.join(" | "))
    };
    trips.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { statements, trips, commits } = self;
        write!(f, "{statements} statements, {trips} round trips, {commits} commits")
    }
}

/// Connections of a service that are counted.
fn counted(url: &str, connections_max: usize) -> anyhow::Result<(Lockstep, Pool)> {
    let wire = Lockstep::before(url)?;
    let pool = world::pool(wire.url(), connections_max)?;
    Ok((wire, pool))
}

/// The database of an owner, with the outbox in it.
async fn source() -> anyhow::Result<Database> {
    let database = Database::create("costs").await?;
    database.migrate("outbox", outbox::MIGRATIONS).await?;
    let contract = contracts::Contract::parse(crate::relayed::CONTRACT)?;
    outbox::register(&database.connect().await?, &contract).await?;
    Ok(database)
}

/// How many bytes of WAL there are in this cluster.
async fn logged_so_far(client: &Client) -> anyhow::Result<i64> {
    let sql = "select (pg_current_wal_insert_lsn() - '0/0')::bigint as bytes";
    Ok(client.query_one(sql, &[]).await?.try_get("bytes")?)
}
