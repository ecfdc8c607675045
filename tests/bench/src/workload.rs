//! What is written: drawn from a seed, in advance, so that every lane is asked for the same.
//!
//! Keys are Zipf distributed (exponent 0.99); of the arrivals 10 % delete, 1 % write 50 products in
//! one transaction, 0.1 % write one that consumers must refuse, and 1 % name a state that is long
//! past, which the owner refuses. Arrivals are a Poisson process: their times are fixed before the
//! first write, and do not wait for anything.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Products written in one transaction by an arrival that writes many.
pub const MANY: u32 = 50;
/// Bytes of a product as it travels.
pub const PAYLOAD_BYTES: usize = 503;
const EXPONENT: f64 = 0.99;

/// What one arrival does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Replaces a product.
    Put,
    /// Deletes a product.
    Delete,
    /// Replaces [`MANY`] products in one transaction.
    Many,
    /// Replaces a product by one that consumers refuse.
    Invalid,
    /// Replaces a product in a state that is long past.
    Stale,
}

/// One arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When, from the beginning.
    pub at: Duration,
    /// What it does.
    pub kind: Kind,
    /// The number of its first change.
    pub seq: u64,
    /// Its product; of many the first draw.
    pub key: u32,
}

/// Draws products: a few are written often, most hardly ever.
#[derive(Debug, Clone)]
pub struct Keys {
    cumulative: Vec<f64>,
}

impl Keys {
    /// Among this many.
    pub fn among(count: u32) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=count.max(1)).map(|rank| {
            sum += f64::from(rank).powf(-EXPONENT);
            sum
        });
        Self { cumulative: cumulative.collect() }
    }

    /// The next one, from 0.
    pub fn draw(&self, random: &mut StdRng) -> u32 {
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        let at = random.random::<f64>() * total;
        let rank = self.cumulative.partition_point(|sum| *sum < at);
        // Neighbouring ranks must not be neighbouring keys, or hot keys would share pages.
        let count = u64::try_from(self.cumulative.len()).unwrap_or(1);
        let spread = u64::try_from(rank).unwrap_or(0).wrapping_mul(2_654_435_761) % count;
        u32::try_from(spread).unwrap_or(0)
    }

    /// As many different ones.
    pub fn many(&self, first: u32, random: &mut StdRng) -> Vec<u32> {
        let count = u32::try_from(self.cumulative.len()).unwrap_or(1);
        let mut keys = vec![first];
        while keys.len() < usize::try_from(MANY.min(count)).unwrap_or(1) {
            let key = random.random_range(0..count);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

/// Arrivals without end, in order of their times.
#[derive(Debug)]
pub struct Arrivals {
    keys: Keys,
    random: StdRng,
    per_second: f64,
    at: f64,
    seq: u64,
}

impl Arrivals {
    /// Arrivals that make this many changes per second on average; `first` numbers their changes.
    pub fn new(seed: u64, keys: Keys, changes_per_second: f64, first: u64) -> Self {
        let changes_per_arrival = 0.01 * f64::from(MANY) + 0.98;
        Self {
            keys,
            random: StdRng::seed_from_u64(seed),
            per_second: changes_per_second / changes_per_arrival,
            at: 0.0,
            seq: first,
        }
    }

    /// The keys that it draws from.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let waited = 1.0 - self.random.random::<f64>();
        self.at += -waited.ln() / self.per_second;
        let kind = match self.random.random_range(0..1_000) {
            0..100 => Kind::Delete,
            100..110 => Kind::Many,
            110..111 => Kind::Invalid,
            111..121 => Kind::Stale,
            _ => Kind::Put,
        };
        let key = self.keys.draw(&mut self.random);
        let seq = self.seq;
        self.seq += if kind == Kind::Many { u64::from(MANY) } else { 1 };
        Some(Arrival { at: Duration::from_secs_f64(self.at), kind, seq, key })
    }
}

/// The name of a product.
pub fn sku(key: u32) -> String {
    format!("BENCH-{key:07}")
}

/// A product's body with its number in it, which comes back from the outbox; with its SKU inside
/// as a line of an import has it.
pub fn body(key: u32, seq: u64, kind: Kind) -> String {
    let sku = sku(key);
    let refused = if kind == Kind::Invalid { r#""refuse":true,"# } else { "" };
    let category = key % 100;
    let head = format!(r#"{{"sku":"{sku}","name":"Product {key}","categories":["c{category}"],"#)
        + &format!(r#""attributes":{{{refused}"seq":{seq},"text":""#);
    let room = PAYLOAD_BYTES.saturating_sub(head.len() + 3);
    // Text that differs from product to product, so that nothing compresses better than life.
    let letters = (0..room).map(|at| {
        let mixed = u64::from(key) ^ seq.wrapping_mul(0x9e37_79b9) ^ (at as u64).wrapping_mul(31);
        char::from(b'a' + u8::try_from(mixed % 26).unwrap_or(0))
    });
    head.chars().chain(letters).chain("\"}}".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_asks_for_the_same() {
        let take = |seed| {
            let arrivals = Arrivals::new(seed, Keys::among(1_000), 500.0, 1);
            arrivals.take(300).collect::<Vec<_>>()
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
    }

    #[test]
    fn the_rate_counts_changes_and_numbers_are_dense() {
        let arrivals: Vec<_> =
            Arrivals::new(1, Keys::among(1_000), 1_000.0, 5).take(20_000).collect();
        let last = arrivals.last().unwrap();
        let changes = f64::from(u32::try_from(last.seq - 5).unwrap());
        let rate = changes / last.at.as_secs_f64();
        assert!((900.0..1_100.0).contains(&rate), "{rate}");
        for two in arrivals.windows(2) {
            let width = if two[0].kind == Kind::Many { u64::from(MANY) } else { 1 };
            assert_eq!(two[0].seq + width, two[1].seq);
            assert!(two[0].at <= two[1].at);
        }
    }

    #[test]
    fn a_few_products_are_written_often() {
        let keys = Keys::among(100_000);
        let mut random = StdRng::seed_from_u64(3);
        let mut counts = std::collections::HashMap::<u32, u32>::new();
        for _ in 0..20_000 {
            *counts.entry(keys.draw(&mut random)).or_default() += 1;
        }
        assert!(counts.values().any(|count| *count > 1_000), "the hottest is hot");
        assert!(counts.len() > 5_000, "and most are not: {}", counts.len());
        let many = keys.many(3, &mut random);
        assert_eq!(many.iter().collect::<std::collections::BTreeSet<_>>().len(), 50);
    }

    #[test]
    fn a_product_has_the_size_that_is_promised() {
        for kind in [Kind::Put, Kind::Invalid] {
            let body = body(99_999, 12_345_678, kind);
            assert_eq!(body.len(), PAYLOAD_BYTES, "{body}");
            let _: serde_json::Value = serde_json::from_str(&body).unwrap();
        }
    }
}
