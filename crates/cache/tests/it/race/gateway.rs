//! A gateway of two replicas over one cache, and everything that goes on around it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache::{Cache, Fill, Flights, Invalidation, Key, Lease, Look};
use protocol::fresh::{Clean, Freshness, Ground, freshness};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use redis::aio::ConnectionManager;
use tokio::time::sleep;

use super::copies::{Copies, answer};
use super::owners::{Clock, ENTITIES, Owner, PARTS};
use crate::{vector, version};

/// Fresh is what shows everything that was committed before so long ago.
pub(super) const BOUND: Duration = Duration::from_millis(300);
const REPLICAS: usize = 2;
const READERS: usize = 32;

/// What the replicas keep their views in.
pub(super) enum Store {
    Leased(Cache),
    /// Plain cache-aside: a miss reads and sets, a change deletes.
    Aside(ConnectionManager),
}

/// What is made to fail at the moment.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The second replica hears nothing of its sources.
    pub(super) replica_is_cut_off: AtomicBool,
    /// Nothing is applied, so nothing is invalidated.
    pub(super) copies_are_cut_off: AtomicBool,
    pub(super) stop: AtomicBool,
}

pub(super) struct Gateway {
    seed: u64,
    clock: Clock,
    owners: [Owner; PARTS.len()],
    pub(super) copies: Copies,
    store: Store,
    /// Past the cache, to take entries away.
    redis: ConnectionManager,
    flights: Flights<Given>,
    clean: [Mutex<[Clean; PARTS.len()]>; REPLICAS],
    pub(super) faults: Faults,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

/// A view: the version that it shows of each part, and what it rests on.
#[derive(Debug, Clone, Copy)]
struct Given {
    shown: [i64; PARTS.len()],
    ground: Ground<{ PARTS.len() }>,
}

impl Gateway {
    pub(super) fn new(seed: u64, store: Store, redis: ConnectionManager) -> Self {
        let clock = Clock::start();
        Self {
            seed,
            clock,
            owners: [Owner::new(clock), Owner::new(clock)],
            copies: Copies::default(),
            store,
            redis,
            flights: Flights::default(),
            clean: Default::default(),
            faults: Faults::default(),
            counts: Mutex::default(),
        }
    }

    /// Everything that goes on, each until it is to stop.
    pub(super) async fn live(&self) {
        let readers = (0..READERS).map(|n| self.reader(n % REPLICAS, self.random(n)));
        let writers = (0..2).map(|n| self.writer(self.random(100 + n)));
        let syncs = (0..REPLICAS).map(|n| self.sync(n, self.random(200 + n)));
        tokio::join!(
            futures::future::join_all(readers),
            futures::future::join_all(writers),
            futures::future::join_all(syncs),
            self.follow(self.random(300)),
            self.notice(self.random(301)),
            self.evict(self.random(302)),
            self.crowd(),
        );
    }

    pub(super) fn count(&self, what: &str) -> u64 {
        self.counts.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    pub(super) fn counts(&self) -> String {
        format!("{:?}", self.counts.lock().unwrap())
    }

    fn saw(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }

    fn random(&self, task: usize) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_add(task as u64))
    }

    fn goes_on(&self) -> bool {
        !self.faults.stop.load(Ordering::Relaxed)
    }

    /// Bursts of changes of one entity; then it rests, so that an old value would stay.
    async fn writer(&self, mut random: StdRng) {
        while self.goes_on() {
            let entity = random.random_range(0..ENTITIES);
            for _ in 0..random.random_range(1..4) {
                self.owners[random.random_range(0..PARTS.len())].commit(entity);
                pause(&mut random, 60).await;
            }
        }
    }

    /// The copies follow their owners, late.
    async fn follow(&self, mut random: StdRng) {
        while self.goes_on() {
            pause(&mut random, 10).await;
            if self.faults.copies_are_cut_off.load(Ordering::Relaxed) {
                continue;
            }
            let owner = random.random_range(0..PARTS.len());
            let changes = self.owners[owner].after(self.copies.position(owner), 20);
            self.copies.apply(owner, &changes);
        }
    }

    /// The worker carries out what is dirty: late, doubled, and old ones after new ones.
    async fn notice(&self, mut random: StdRng) {
        while self.goes_on() {
            pause(&mut random, 30).await;
            let mut taken = self.copies.take();
            taken.shuffle(&mut random);
            taken.truncate(random.random_range(1..20));
            let mut all = Vec::new();
            for taken in &taken {
                for behind in [0, 0, 1, 3].iter().take(random.random_range(1..5)) {
                    let version = version((taken.change.version - behind).max(1));
                    let (key, part) = (key(taken.change.entity), PARTS[taken.owner].to_owned());
                    all.push(Invalidation { key, part, version: Some(version) });
                }
            }
            all.shuffle(&mut random);
            if self.invalidate(&all).await.is_ok() {
                self.copies.done(&taken);
            } else {
                self.saw("invalidations that failed");
            }
        }
    }

    async fn invalidate(&self, all: &[Invalidation]) -> anyhow::Result<()> {
        match &self.store {
            Store::Leased(cache) => drop(cache.invalidate(all).await?),
            Store::Aside(redis) => {
                let mut delete = redis::cmd("DEL");
                delete.arg("nothing");
                for one in all {
                    delete.arg(one.key.as_str());
                }
                delete.exec_async(&mut redis.clone()).await?;
            }
        }
        Ok(())
    }

    /// A replica asks its sources where their heads are.
    async fn sync(&self, replica: usize, mut random: StdRng) {
        while self.goes_on() {
            pause(&mut random, 15).await;
            if replica == 1 && self.faults.replica_is_cut_off.load(Ordering::Relaxed) {
                continue;
            }
            for owner in 0..PARTS.len() {
                let started = self.clock.now();
                pause(&mut random, 3).await;
                let head = self.owners[owner].head();
                pause(&mut random, 3).await;
                let clean = &mut self.clean[replica].lock().unwrap()[owner];
                clean.answered(started, 0, &answer(owner, head));
                clean.seen(&self.copies.sight(owner));
            }
        }
    }

    /// What a hit rests on.
    fn found(&self, replica: usize) -> Ground<{ PARTS.len() }> {
        let clean = self.clean[replica].lock().unwrap();
        Ground::Found { clean_at: clean.each_ref().map(Clean::at) }
    }

    /// Somebody takes away entries.
    async fn evict(&self, mut random: StdRng) {
        while self.goes_on() {
            pause(&mut random, 20).await;
            let mut delete = redis::cmd("DEL");
            let name = key(random.random_range(0..ENTITIES));
            let gone = delete.arg(name.as_str()).query_async(&mut self.redis.clone()).await;
            if matches!(gone, Ok(1)) {
                self.saw("entries taken away");
            }
        }
    }

    /// Fills the memory with what nobody asks for.
    async fn crowd(&self) {
        for n in 0.. {
            if !self.goes_on() {
                return;
            }
            sleep(Duration::from_millis(5)).await;
            let Store::Leased(cache) = &self.store else { continue };
            let name = Key::new("race", "crowd", &n.to_string());
            if let Ok(Look::Miss { lease, .. }) = cache.look(&name).await {
                let much = Bytes::from(vec![b'x'; 16 << 10]);
                // A full memory may refuse it.
                let _ = cache.fill(&lease, much, &vector(&[]), None).await;
            }
        }
    }

    /// Somebody asks one replica for one view after the other, and compares.
    async fn reader(&self, replica: usize, mut random: StdRng) {
        while self.goes_on() {
            pause(&mut random, 10).await;
            let entity = random.random_range(0..ENTITIES);
            let given = match &self.store {
                Store::Leased(cache) => self.give(cache, replica, entity, &mut random).await,
                Store::Aside(redis) => self.give_aside(redis, replica, entity, &mut random).await,
            };
            self.compare(replica, entity, given);
        }
    }

    fn compare(&self, replica: usize, entity: usize, given: Given) {
        let now = self.clock.now();
        let lacks = |moment| {
            let then = self.owners.each_ref().map(|owner| owner.read_at(entity, moment));
            given.shown.iter().zip(then).any(|(shown, then)| *shown < then)
        };
        let is_old = lacks(now.saturating_sub(BOUND));
        match freshness(now, &given.ground, BOUND) {
            Freshness::Fresh { .. } => {
                self.saw(["fresh here", "fresh there"][replica]);
                if is_old {
                    self.saw("OLD AS FRESH");
                }
                if given.ground.proven_at().is_some_and(lacks) {
                    self.saw("OLDER THAN PROVEN");
                }
            }
            Freshness::Stale { .. } => {
                self.saw(["stale here", "stale there"][replica]);
                if is_old {
                    self.saw("old and flagged");
                }
            }
        }
    }

    async fn give(
        &self,
        cache: &Cache,
        replica: usize,
        entity: usize,
        random: &mut StdRng,
    ) -> Given {
        // Both before the look: what is learned later says nothing about what it finds.
        let (found, carried) = (self.found(replica), self.copies.carried(entity));
        let began = self.clock.now();
        match cache.look(&key(entity)).await {
            Ok(Look::Hit(entry)) => {
                self.saw("hits");
                let shown = shown(&entry.value);
                if shown.iter().zip(carried).any(|(shown, carried)| *shown < carried) {
                    self.saw("OLDER THAN CARRIED OUT");
                }
                Given { shown, ground: found }
            }
            Ok(Look::Miss { old: Some(old), .. }) if random.random_bool(0.05) => {
                self.saw("old ones for an owner out of reach");
                Given { shown: shown(&old.value), ground: Ground::Old }
            }
            Ok(Look::Miss { lease, .. }) => {
                let fill = self.read_and_fill(cache, &lease, began, (entity, random));
                self.flights.join(&key(entity), || fill).await
            }
            Err(_) => {
                self.saw("looks that failed");
                Given { shown: self.read(entity, random).await, ground: Ground::Read { began } }
            }
        }
    }

    async fn read_and_fill(
        &self,
        cache: &Cache,
        lease: &Lease,
        began: Duration,
        (entity, random): (usize, &mut StdRng),
    ) -> Given {
        let shown = self.read(entity, random).await;
        let parts = [(PARTS[0], shown[0]), (PARTS[1], shown[1])];
        let filled = cache.fill(lease, bytes(shown), &vector(&parts), None).await;
        self.saw(match filled {
            Ok(Fill::Stored) => "fills stored",
            Ok(Fill::Refused) => "fills refused",
            Err(_) => "fills that failed",
        });
        // Stored or not, it stands for its own reading.
        Given { shown, ground: Ground::Read { began } }
    }

    async fn give_aside(
        &self,
        redis: &ConnectionManager,
        replica: usize,
        entity: usize,
        random: &mut StdRng,
    ) -> Given {
        let (ground, began, name) = (self.found(replica), self.clock.now(), key(entity));
        let mut redis = redis.clone();
        let found = redis::cmd("GET").arg(name.as_str()).query_async(&mut redis).await;
        if let Ok(Some(value)) = found {
            self.saw("hits");
            let value: Bytes = value;
            return Given { shown: shown(&value), ground };
        }
        let given = self.read(entity, random).await;
        let value = bytes(given);
        let mut set = redis::cmd("SET");
        if set.arg(name.as_str()).arg(&*value).exec_async(&mut redis).await.is_ok() {
            self.saw("fills stored");
        }
        Given { shown: given, ground: Ground::Read { began } }
    }

    /// Part by part from the owners, now and then slowly.
    async fn read(&self, entity: usize, random: &mut StdRng) -> [i64; PARTS.len()] {
        let mut read = [0; PARTS.len()];
        for (part, owner) in self.owners.iter().enumerate() {
            read[part] = owner.read(entity);
            let slow = if random.random_bool(0.4) { 150 } else { 10 };
            pause(random, slow).await;
        }
        read
    }
}

async fn pause(random: &mut StdRng, ms_max: u64) {
    sleep(Duration::from_millis(random.random_range(0..=ms_max))).await;
}

fn key(entity: usize) -> Key {
    Key::new("race", "product", &entity.to_string())
}

fn bytes(shown: [i64; PARTS.len()]) -> Bytes {
    let padding = "x".repeat(1 << 10);
    format!("{} {} {padding}", shown[0], shown[1]).into()
}

fn shown(value: &[u8]) -> [i64; PARTS.len()] {
    let mut words = str::from_utf8(value).unwrap().split(' ');
    std::array::from_fn(|_| words.next().unwrap().parse().unwrap())
}
