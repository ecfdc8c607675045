//! Where the time went: the steps of changes, from the books of relay and consumer.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::clock::Moment;
use crate::figures::Figures;
use crate::lane::{Part, Running, Syncline};
use crate::measure::{Notes, Numbered, Spread};

const JOURNAL: &str = include_str!("../../queries/journal.sql");

/// Changes of which the relay is asked when the broker was told: it answers one by one.
const SAMPLE: usize = 200;

/// What the relay knows of the way of a change.
#[derive(Debug, Deserialize)]
struct Trail {
    pn: Option<Text>,
    sealed_at: Option<DateTime<Utc>>,
    published_at: Option<DateTime<Utc>>,
    confirmed_at: Option<DateTime<Utc>>,
}

/// A number that travels as text.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Text(i64);

impl TryFrom<String> for Text {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// One batch as the consumer journalled it.
struct Batch {
    first: i64,
    last: i64,
    received: Moment,
}

/// Adds the steps between seal and commit.
pub(super) async fn add(
    lane: &Syncline,
    running: &Running,
    (numbered, notes): (&[Numbered], &Notes),
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (Some(first), Some(last)) =
        (numbered.iter().map(|c| c.pn).min(), numbered.iter().map(|c| c.pn).max())
    else {
        return Ok(());
    };
    let copy = lane.copy.connect().await?;
    let rows = copy.query(JOURNAL, &[&Syncline::stream().as_str(), &first, &last]).await?;
    let mut steps = ["lock", "gate", "apply", "commit"].map(|name| (name, Spread::default()));
    let mut batches = Vec::with_capacity(rows.len());
    for row in &rows {
        let batch = Batch {
            first: row.try_get("first")?,
            last: row.try_get("last")?,
            received: Moment::of_wall(row.try_get("received_us")?),
        };
        for ((_, spread), column) in steps.iter_mut().zip(["lock_us", "gate_us", "apply_us"]) {
            let micros: i64 = row.try_get(column)?;
            spread.note(Moment(0), Moment(micros.unsigned_abs()))?;
        }
        let at = Moment::of_wall(row.try_get("at_us")?);
        let moved = notes.applied(batch.last);
        if let (Some((_, commit)), Some(moved)) = (steps.last_mut(), moved) {
            commit.note(at, moved)?;
        }
        batches.push(batch);
    }
    for (name, spread) in steps {
        figures.steps.insert(name.to_owned(), spread.latency());
    }
    travel(&running.relay, numbered, &batches, figures).await
}

/// The way between relay and consumer, of a sample of the newest changes.
async fn travel(
    relay: &Part,
    numbered: &[Numbered],
    batches: &[Batch],
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let [mut publish, mut route, mut confirm] = [(); 3].map(|()| Spread::default());
    for change in numbered.iter().rev().step_by(7).take(SAMPLE) {
        let url =
            format!("http://127.0.0.1:{}/where/catalog.products?key={}", relay.port, change.key);
        let Ok(trail) = client.get(url).send().await?.json::<Trail>().await else { continue };
        let (Some(pn), Some(sealed), Some(published)) =
            (trail.pn, trail.sealed_at, trail.published_at)
        else {
            continue;
        };
        let wall = |at: DateTime<Utc>| Moment::of_wall(at.timestamp_micros());
        publish.note(wall(sealed), wall(published))?;
        if let Some(confirmed) = trail.confirmed_at {
            confirm.note(wall(published), wall(confirmed))?;
        }
        let batch = batches.iter().find(|batch| (batch.first..=batch.last).contains(&pn.0));
        if let Some(batch) = batch {
            route.note(wall(published), batch.received)?;
        }
    }
    for (name, spread) in [("publish", publish), ("route", route), ("confirm", confirm)] {
        figures.steps.insert(name.to_owned(), spread.latency());
    }
    Ok(())
}
