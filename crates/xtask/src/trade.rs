//! `cargo x trade`: a small trade over HTTP, so that a fresh mesh has something to show.
//!
//! Prices change, goods are sold and delivered, promotions begin and end by themselves. It writes
//! as any other client does, through the gateway, and only to what the sample brought.

use std::{
    ffi::OsString,
    fmt,
    hash::{BuildHasher as _, RandomState},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    home::{Home, HomeArgs},
    plan::Plan,
    progress, sample,
    settings::Settings,
};

/// The most writes per second that may be asked for.
pub(crate) const RATE_MAX: i64 = 1_000;
/// So many writes per second one connection is good for.
const RATE_OF_A_THREAD: u32 = 50;
/// How often it looks whether the sample is there.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// The pause after a write that nobody answered.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// How often it says what it did.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// Promotions are written over and over under this many names.
const PROMOTIONS: u64 = 20;
/// When a promotion begins, and ends, counted from its writing.
const PROMOTION: [TimeDelta; 2] = [TimeDelta::seconds(2), TimeDelta::seconds(20)];

/// What `cargo x trade` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    home: HomeArgs,
    /// Writes per second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=RATE_MAX))]
    rate: u32,
}

/// The words by which this program is told to trade.
pub(crate) fn words(home: &Home, rate: u32) -> Vec<OsString> {
    let rate = rate.to_string();
    let words = ["trade", "--rate", &rate, "--home"].map(OsString::from);
    words.into_iter().chain([home.root().into()]).collect()
}

/// Trades until it is ended.
pub(crate) fn run(_settings: &Settings, args: &Args) -> Result<ExitCode> {
    let home = args.home.home()?;
    wait_for_sample(&home);
    let goods = Goods { prices: sample::rows("prices")?, places: sample::rows("stock")? };
    let url = Plan::read(&home)?.context("this home was never up")?.url()?;
    let threads = args.rate.div_ceil(RATE_OF_A_THREAD);
    let interval = Duration::from_secs(1) * threads / args.rate;
    let counts = Counts::default();
    progress::say("trade", &format!("{} writes per second to {url}", args.rate));
    thread::scope(|scope| {
        for thread in 0..threads {
            let trader = Trader { client: sample::client(), url: &url, goods: &goods };
            let (first, counts) = (interval * thread / threads, &counts);
            scope.spawn(move || trader.trade(first, interval, counts));
        }
        loop {
            thread::sleep(REPORT_INTERVAL);
            progress::say("trade", &counts.to_string());
        }
    })
}

fn wait_for_sample(home: &Home) {
    while !home.loaded_file().exists() {
        thread::sleep(LOOK_INTERVAL);
    }
}

/// What is traded.
#[derive(Debug)]
struct Goods {
    prices: Vec<Price>,
    places: Vec<Place>,
}

#[derive(Debug, Deserialize)]
struct Price {
    sku: String,
    amount: String,
}

#[derive(Debug, Deserialize)]
struct Place {
    sku: String,
    location: String,
}

/// What became of the writes.
#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [done, refused, failed] =
            [&self.done, &self.refused, &self.failed].map(|one| one.load(Ordering::Relaxed));
        write!(f, "{done} writes done, {refused} refused, {failed} without an answer")
    }
}

/// What an owner made of a write.
enum Taken {
    Done,
    /// Sold out.
    Refused,
}

struct Trader<'a> {
    client: ureq::Agent,
    url: &'a str,
    goods: &'a Goods,
}

impl Trader<'_> {
    /// Writes at fixed times, so that a slow answer does not make the trade slower.
    fn trade(&self, first: Duration, interval: Duration, counts: &Counts) {
        let mut due = Instant::now() + first;
        let mut failures = 0;
        loop {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due += interval;
            let count = match self.send(&next(self.goods, [chance(), chance(), chance()])) {
                Ok(Taken::Done) => &counts.done,
                Ok(Taken::Refused) => &counts.refused,
                Err(error) => {
                    if failures == 0 {
                        progress::say("trade", &format!("waits: {error:#}"));
                    }
                    failures += 1;
                    counts.failed.fetch_add(1, Ordering::Relaxed);
                    due = Instant::now() + FAILED_PAUSE;
                    continue;
                }
            };
            count.fetch_add(1, Ordering::Relaxed);
            if failures > 0 {
                progress::say("trade", &format!("goes on after {failures} failures"));
                failures = 0;
            }
        }
    }

    fn send(&self, write: &Write) -> Result<Taken> {
        let url = format!("{}{}", self.url, write.path);
        let answer = match write.verb {
            Verb::Put => self.client.put(&url).send_json(&write.body),
            Verb::Post => self.client.post(&url).send_json(&write.body),
        };
        let mut answer = answer.with_context(|| url.clone())?;
        let said = answer.body_mut().read_to_string().unwrap_or_default();
        match answer.status().as_u16() {
            200..=299 => Ok(Taken::Done),
            409 => Ok(Taken::Refused),
            status => bail!("{url} answered {status}: {said}"),
        }
    }
}

/// One request of the trade.
#[derive(Debug)]
struct Write {
    verb: Verb,
    path: String,
    body: Value,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Put,
    Post,
}

/// Of twenty writes ten are sales, five deliveries, four new prices and one is a promotion.
fn next(goods: &Goods, [what, which, how_much]: [u64; 3]) -> Write {
    match what % 20 {
        0..10 => adjustment(pick(&goods.places, which), -small(how_much % 3 + 1), "sale"),
        10..15 => adjustment(pick(&goods.places, which), small(how_much % 6 + 1), "delivery"),
        15..19 => price(pick(&goods.prices, which), how_much),
        _ => promotion(pick(&goods.prices, which), how_much, Utc::now()),
    }
}

fn adjustment(place: &Place, delta: i64, reason: &str) -> Write {
    let path = format!("/api/v1/stock/{}/{}/adjustments", place.sku, place.location);
    Write { verb: Verb::Post, path, body: json!({ "delta": delta, "reason": reason }) }
}

/// Up to a tenth above or below the price of the sample, so that prices never wander off.
fn price(price: &Price, chance: u64) -> Write {
    let amount: f64 = price.amount.parse().unwrap_or(1.0);
    let factor = 0.9 + f64::from(u8::try_from(chance % 201).unwrap_or_default()) / 1000.0;
    let amount = format!("{:.2}", amount * factor);
    let path = format!("/api/v1/prices/{}", price.sku);
    Write { verb: Verb::Put, path, body: json!({ "currency": "USD", "amount": amount }) }
}

fn promotion(price: &Price, chance: u64, now: DateTime<Utc>) -> Write {
    let [starts_at, ends_at] =
        PROMOTION.map(|after| (now + after).to_rfc3339_opts(SecondsFormat::Millis, true));
    let body = json!({
        "skus": [price.sku],
        "percent_off": (chance % 30 + 5).to_string(),
        "periods": [{ "starts_at": starts_at, "ends_at": ends_at }],
    });
    let path = format!("/api/v1/promotions/flash-{}", chance % PROMOTIONS);
    Write { verb: Verb::Put, path, body }
}

fn pick<T>(all: &[T], chance: u64) -> &T {
    let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let index = usize::try_from(chance % count.max(1)).unwrap_or_default();
    all.get(index).expect("the sample is not empty")
}

fn small(number: u64) -> i64 {
    i64::try_from(number).expect("small")
}

/// Anything: the seed of a hash table is drawn anew for each.
fn chance() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goods() -> Goods {
        Goods { prices: sample::rows("prices").unwrap(), places: sample::rows("stock").unwrap() }
    }

    #[test]
    fn every_kind_of_write_comes_and_names_goods_of_the_sample() {
        let goods = goods();
        let paths: Vec<String> =
            (0..20).map(|what| next(&goods, [what, what * 97, what]).path).collect();
        let count = |part: &str| paths.iter().filter(|path| path.contains(part)).count();
        assert_eq!(count("/adjustments"), 15);
        assert_eq!((count("/prices/"), count("/promotions/")), (4, 1));
    }

    #[test]
    fn prices_stay_near_the_sample_and_have_cents() {
        let old = Price { sku: "A".to_owned(), amount: "50.00".to_owned() };
        let amount = |chance| price(&old, chance).body["amount"].as_str().unwrap().to_owned();
        assert_eq!([amount(0), amount(100), amount(200)], ["45.00", "50.00", "55.00"]);
    }

    #[test]
    fn chance_is_not_always_the_same() {
        let first = chance();
        assert!((0..64).any(|_| chance() != first));
    }
}
