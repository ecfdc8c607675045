//! One entry: the scripts do what the machine does, and what only Redis can get wrong.

use std::collections::HashMap;
use std::time::Duration;

use cache::{Cache, Fill, Invalidation, Key, Look};
use protocol::cache as machine;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use testkit::eventually;

use crate::{config, fill, tell, vector, version, world};

fn key(name: &str) -> Key {
    Key::new("3f2a", "product", name)
}

fn price(key: &Key, n: i64) -> Invalidation {
    Invalidation { key: key.clone(), part: "price".to_owned(), version: Some(version(n)) }
}

/// Covers: A22.
#[tokio::test]
async fn what_is_filled_in_is_found_with_its_versions_and_age() -> anyhow::Result<()> {
    let (_server, cache, _) = world().await?;
    let key = key("MH01");
    let Look::Miss { lease, old: None } = cache.look(&key).await? else { panic!("a hit") };
    let vector = vector(&[("product", 7), ("price", i64::MAX), ("stock/store 1/ä:\n", 0)]);
    let value = bytes::Bytes::from_static(b"\0\xff any bytes \r\n");
    assert_eq!(cache.fill(&lease, value.clone(), &vector, None).await?, Fill::Stored);
    let Look::Hit(entry) = cache.look(&key).await? else { panic!("a miss") };
    assert_eq!((entry.value, entry.vector), (value, vector));
    assert!(entry.age < Duration::from_secs(60) && entry.filled_at > entry.age);
    Ok(())
}

#[tokio::test]
async fn versions_that_no_float_holds_are_told_apart() -> anyhow::Result<()> {
    let (_server, cache, _) = world().await?;
    let key = key("MH01");
    fill(&cache, &key, &[("price", i64::MAX - 1)]).await?;
    assert_eq!(cache.invalidate(&[price(&key, i64::MAX - 1)]).await?, 0);
    assert_eq!(cache.invalidate(&[price(&key, 9)]).await?, 0, "shorter is lower");
    assert_eq!(cache.invalidate(&[price(&key, i64::MAX)]).await?, 1);
    Ok(())
}

#[tokio::test]
async fn many_invalidations_are_carried_out_in_one_call() -> anyhow::Result<()> {
    let (_server, cache, _) = world().await?;
    let keys: Vec<Key> = (0..600).map(|n| key(&n.to_string())).collect();
    for key in &keys {
        assert_eq!(fill(&cache, key, &[("price", 1)]).await?, Fill::Stored);
    }
    let all: Vec<_> = keys.iter().chain(&keys).map(|key| price(key, 2)).collect();
    assert_eq!(cache.invalidate(&all).await?, 600, "the second time nothing is left to end");
    assert_eq!(cache.invalidate(&[]).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_value_ends_at_its_time_by_the_clock_of_the_cache() -> anyhow::Result<()> {
    let (_server, cache, mut redis) = world().await?;
    let key = key("MH01");
    let time: (u64, u32) = redis::cmd("TIME").query_async(&mut redis).await?;
    let soon = Duration::from_secs(time.0) + Duration::from_secs(2);
    let Look::Miss { lease, .. } = cache.look(&key).await? else { panic!("a hit") };
    cache.fill(&lease, "soon over".into(), &vector(&[]), Some(soon)).await?;
    assert!(matches!(cache.look(&key).await?, Look::Hit(_)));
    eventually("the value is no longer current but known", || async {
        let look = cache.look(&key).await?;
        Ok(matches!(look, Look::Miss { old: Some(old), .. } if old.value == "soon over"))
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_value_is_current_no_longer_than_the_limit_and_known_no_longer_than_the_other()
-> anyhow::Result<()> {
    let (server, _, _) = world().await?;
    let mut limits = config(&server.url());
    (limits.cache_current_ms_max, limits.cache_old_ms_max) = (400, 800);
    let cache = Cache::connect(&limits).await?;
    let Look::Miss { lease, .. } = cache.look(&key("MH01")).await? else { panic!("a hit") };
    let for_ever = Some(Duration::from_secs(1 << 40));
    cache.fill(&lease, "short".into(), &vector(&[]), for_ever).await?;
    assert!(matches!(cache.look(&key("MH01")).await?, Look::Hit(_)));
    eventually("it is old", || async {
        Ok(matches!(cache.look(&key("MH01")).await?, Look::Miss { old: Some(_), .. }))
    })
    .await;
    eventually("it is forgotten", || async {
        Ok(matches!(cache.look(&key("MH01")).await?, Look::Miss { old: None, .. }))
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn every_entry_goes_by_itself() -> anyhow::Result<()> {
    let (_server, cache, mut redis) = world().await?;
    let [leased, filled, ended] = [key("leased"), key("filled"), key("ended")];
    cache.look(&leased).await?;
    fill(&cache, &filled, &[("price", 1)]).await?;
    fill(&cache, &ended, &[("price", 1)]).await?;
    cache.invalidate(&[price(&ended, 2)]).await?;
    cache.look(&ended).await?;
    for key in [leased, filled, ended] {
        let ms: i64 = redis::cmd("PTTL").arg(key.as_str()).query_async(&mut redis).await?;
        assert!(ms > 0, "{key:?} stays for ever: {ms}");
    }
    Ok(())
}

#[tokio::test]
async fn an_invalidation_works_when_memory_is_full() -> anyhow::Result<()> {
    let (_server, cache, mut redis) = world().await?;
    let [ended, leased] = [key("ended"), key("leased")];
    fill(&cache, &ended, &[("price", 1)]).await?;
    let Look::Miss { lease, .. } = cache.look(&leased).await? else { panic!("a hit") };
    tell(&mut redis, "CONFIG SET maxmemory-policy noeviction").await?;
    tell(&mut redis, "CONFIG SET maxmemory 1").await?;
    assert!(cache.look(&key("new")).await.is_err(), "memory is not full");
    assert_eq!(cache.invalidate(&[price(&ended, 2), price(&leased, 2)]).await?, 1);
    tell(&mut redis, "CONFIG SET maxmemory 0").await?;
    let filled = cache.fill(&lease, "late".into(), &vector(&[]), None).await?;
    assert_eq!(filled, Fill::Refused);
    Ok(())
}

/// The scripts and the machine side by side.
struct Pair {
    cache: Cache,
    key: Key,
    machine: machine::Entry<String>,
    /// What every look gave on either side, the newest last.
    leases: Vec<(machine::Lease, cache::Lease)>,
    drawn: u128,
}

impl Pair {
    async fn look(&mut self) -> anyhow::Result<&'static str> {
        self.drawn += 1;
        let expected = self.machine.look(Duration::ZERO, machine::Lease::new(self.drawn));
        let shown = |entry: &cache::Entry| (entry.value.clone(), entry.vector.clone());
        let known = |filled: machine::Filled<String>| (filled.value.into(), filled.vector);
        Ok(match (expected, self.cache.look(&self.key).await?) {
            (machine::Look::Hit(expected), Look::Hit(entry)) => {
                assert_eq!(known(expected), shown(&entry));
                "hit"
            }
            (machine::Look::Miss(expected, last), Look::Miss { lease, old }) => {
                assert_eq!(last.map(known), old.as_ref().map(shown));
                self.leases.push((expected, lease));
                if old.is_some() { "old" } else { "miss" }
            }
            (expected, found) => anyhow::bail!("expected {expected:?}, found {found:?}"),
        })
    }

    /// Fills on both sides with one of the last leases.
    async fn fill(&mut self, back: usize, parts: &[(&str, i64)]) -> anyhow::Result<&'static str> {
        let Some(at) = self.leases.len().checked_sub(1 + back) else { return Ok("nothing") };
        let (expected, lease) = &self.leases[at];
        let (value, vector) = (format!("{parts:?}"), vector(parts));
        let stored = self.cache.fill(lease, value.clone().into(), &vector, None).await?;
        let (read_at, until) = (Duration::ZERO, Duration::MAX);
        let filled = machine::Filled { value, vector, read_at, until };
        assert_eq!(self.machine.fill(*expected, filled), stored);
        Ok(if stored == Fill::Stored { "stored" } else { "refused" })
    }

    async fn invalidate(&mut self, part: &str, n: Option<i64>) -> anyhow::Result<&'static str> {
        let was = self.machine.current().is_some();
        let version = n.map(version);
        self.machine.invalidate(part, version);
        let ends = was && self.machine.current().is_none();
        let invalidation = Invalidation { key: self.key.clone(), part: part.to_owned(), version };
        assert_eq!(self.cache.invalidate(&[invalidation]).await?, u64::from(ends));
        Ok(if ends { "ended" } else { "kept" })
    }
}

#[tokio::test]
async fn the_scripts_do_what_the_machine_does() -> anyhow::Result<()> {
    let (_server, cache, mut redis) = world().await?;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for run in 0..40 {
        let (key, machine) = (key(&run.to_string()), machine::Entry::default());
        let mut pair = Pair { cache: cache.clone(), key, machine, leases: Vec::new(), drawn: 0 };
        for _ in 0..60 {
            let part = ["price", "stock/store-1"][random.random_range(0..2)];
            let what = match random.random_range(0..10) {
                0..4 => pair.look().await?,
                4..7 => {
                    let parts = [("price", random.random_range(8..13)), (part, 10)];
                    pair.fill(random.random_range(0..3), &parts).await?
                }
                7 | 8 => {
                    let n = random.random_bool(0.9).then(|| random.random_range(8..13));
                    pair.invalidate(part, n).await?
                }
                _ => {
                    pair.machine.evict();
                    let mut evict = redis::cmd("DEL");
                    evict.arg(pair.key.as_str()).exec_async(&mut redis).await?;
                    "evicted"
                }
            };
            *seen.entry(what).or_default() += 1;
        }
    }
    for what in ["hit", "miss", "old", "stored", "refused", "ended", "kept", "evicted"] {
        assert!(seen.get(what).is_some_and(|times| *times > 20), "{what} is rare in {seen:?}");
    }
    Ok(())
}
