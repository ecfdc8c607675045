//! Every committed change is numbered once and in its entity's order, whatever happens meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bus, Delivery, Handler, Memory, Verdict};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use contracts::calls::FeedResponse;
use contracts::{Lane, Stream, Term, Topic};
use outbox::Relay;

use crate::world::{ITEMS, Numbered, PRICES, Running, SEAL, World};
use crate::writers::{Kind, Ledger, WRITERS, write};

/// What an outside observer finds in the end.
struct Found {
    /// Every committed change, by its event.
    stored: HashSet<Uuid>,
    /// Every stream, read through the feed.
    streams: HashMap<Stream, Vec<Numbered>>,
}

/// Everything that the bus carried, by stream and number.
#[derive(Default)]
struct Heard(Mutex<HashMap<(Stream, i64), Numbered>>);

impl Handler for Heard {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Verdict> {
        async move {
            let mut heard = self.0.lock().unwrap();
            for change in Numbered::of(&delivery.body).unwrap() {
                let place = (delivery.stream.clone(), change.pn);
                let before = heard.insert(place, change.clone());
                assert!(before.is_none_or(|before| before == change), "a number has two meanings");
            }
            Verdict::Done
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_invented_or_reordered_by_two_relays_under_faults() {
    // Draws all that is left to chance, beside what the scheduler does.
    let seed = rand::random();
    println!("seed {seed}");
    let world = Arc::new(World::new().await.unwrap());
    let hub = Memory::new();
    let heard = Arc::new(Heard::default());
    let listener = Bus::memory(&hub);
    for topic in [ITEMS, PRICES] {
        listener.subscribe(&Topic::parse(topic).unwrap(), Arc::clone(&heard) as Arc<dyn Handler>);
    }
    let first = Running::start(world.relay(Bus::memory(&hub)).unwrap());
    let second = Running::start(world.relay(Bus::memory(&hub)).unwrap());

    let stop = CancellationToken::new();
    let mut around: JoinSet<anyhow::Result<u32>> = JoinSet::new();
    around.spawn(kill_ticking_sessions(Arc::clone(&world), seed, stop.clone()));
    around.spawn(rival_seals(Arc::clone(&world), !seed, stop.clone()));
    around.spawn(freeze_in_a_loop(Arc::clone(&world), stop.clone()));
    let mut leads = JoinSet::new();
    for relay in [&first, &second] {
        leads.spawn(terms_led(relay.relay.clone(), stop.clone()));
    }
    let ledger = write(&world, seed, Duration::from_secs(12)).await.unwrap();
    stop.cancel();
    let leads = leads.join_all().await;
    while let Some(faults) = around.join_next().await {
        let faults = faults.unwrap().unwrap();
        assert!(faults > 5, "only {faults} faults of one kind");
    }

    everything_is_sealed(&world).await;
    let found = read_everything(&world, &first, &second).await;
    check_ledger(&ledger, &found.stored);
    check_streams(&found);
    check_terms(&world, &leads).await;
    testkit::eventually("everything was published", || async {
        let heard = heard.0.lock().unwrap();
        let all = found.streams.values().map(Vec::len).sum::<usize>();
        Ok(heard.len() == all)
    })
    .await;
    // What was read at sealing and what is read in the end is the same, number by number and byte
    // by byte.
    let heard = std::mem::take(&mut *heard.0.lock().unwrap());
    for (stream, changes) in &found.streams {
        for change in changes {
            assert_eq!(heard.get(&(stream.clone(), change.pn)), Some(change));
        }
    }
    println!("{} changes of {WRITERS} writers", found.stored.len());
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_over_ids_loses_changes_of_the_same_writers() {
    let mut lost = 0;
    for round in 1..=5 {
        let world = Arc::new(World::new().await.unwrap());
        let stop = CancellationToken::new();
        let mut cursor = JoinSet::new();
        cursor.spawn(read_by_cursor(Arc::clone(&world), stop.clone()));
        let seed = rand::random();
        println!("seed {seed}");
        let ledger = write(&world, seed, Duration::from_secs(4)).await.unwrap();
        stop.cancel();
        let seen = cursor.join_next().await.unwrap().unwrap().unwrap();
        lost = ledger.committed.difference(&seen).count();
        println!("round {round}: the cursor lost {lost} of {}", ledger.committed.len());
        if lost > 0 {
            break;
        }
    }
    assert!(lost > 0, "the workload is too tame to tell a wrong reader from a right one");
}

/// Ends sessions that tick at random moments.
async fn kill_ticking_sessions(
    world: Arc<World>,
    seed: u64,
    stop: CancellationToken,
) -> anyhow::Result<u32> {
    let mut random = StdRng::seed_from_u64(seed);
    let client = world.client().await?;
    let mut killed = 0;
    while !stop.is_cancelled() {
        let wait = random.random_range(100..500);
        sleep(Duration::from_millis(wait)).await;
        let sql = "select count(pg_terminate_backend(pid))::int as killed from pg_stat_activity
                    where datname = current_database() and application_name = 'relay tick'";
        killed += client.query_one(sql, &[]).await?.get::<_, i32>("killed").unsigned_abs();
    }
    Ok(killed)
}

/// Takes over and seals as a relay does, and every other time dies before its commit.
async fn rival_seals(world: Arc<World>, seed: u64, stop: CancellationToken) -> anyhow::Result<u32> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut crashes, mut commits) = (0, 0);
    while !stop.is_cancelled() {
        let wait = random.random_range(100..500);
        sleep(Duration::from_millis(wait)).await;
        let client = world.client().await?;
        client.batch_execute("set enable_seqscan = off; set jit = off").await?;
        let term = Uuid::new_v4();
        let sql = "update outbox.tick set term = $1 returning n, s1::text as s1";
        let row = client.query_one(sql, &[&term]).await?;
        let (n, s1): (i64, String) = (row.get("n"), row.get("s1"));
        client.batch_execute("begin").await?;
        let seal = client.query_one(SEAL, &[&n, &term, &s1, &0_i64, &0_i64]).await?;
        let sealed = u32::from(seal.get::<_, Option<i64>>("n").is_some());
        if crashes > commits {
            client.batch_execute("commit").await?;
            commits += sealed;
        } else {
            drop(client);
            crashes += sealed;
        }
    }
    Ok(commits)
}

async fn freeze_in_a_loop(world: Arc<World>, stop: CancellationToken) -> anyhow::Result<u32> {
    let client = world.client().await?;
    let mut frozen = 0;
    while !stop.is_cancelled() {
        sleep(Duration::from_millis(300)).await;
        client.batch_execute("vacuum (freeze) outbox.change").await?;
        frozen += 1;
    }
    Ok(frozen)
}

/// Terms under which a relay led, as many as it showed.
async fn terms_led(relay: Relay, stop: CancellationToken) -> HashSet<Uuid> {
    let mut terms = HashSet::new();
    while !stop.is_cancelled() {
        terms.extend(
            relay.status().await["term"].as_str().map(|term| term.parse::<Uuid>().unwrap()),
        );
        sleep(Duration::from_millis(20)).await;
    }
    terms
}

async fn read_by_cursor(
    world: Arc<World>,
    stop: CancellationToken,
) -> anyhow::Result<HashSet<Uuid>> {
    let client = world.client().await?;
    let (mut last, mut seen) = (0_i64, HashSet::new());
    loop {
        let ending = stop.is_cancelled();
        let sql = "select id, event from outbox.change where id > $1 order by id";
        for row in client.query(sql, &[&last]).await? {
            last = row.get("id");
            seen.insert(row.get("event"));
        }
        if ending {
            return Ok(seen);
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn everything_is_sealed(world: &World) {
    let client = world.client().await.unwrap();
    testkit::eventually("everything is sealed", || async {
        let sql = "select (select count(*) from outbox.change)
                        = (select sum(last - first + 1) from outbox.segment) as all_sealed";
        Ok(client.query_one(sql, &[]).await?.get::<_, Option<bool>>("all_sealed") == Some(true))
    })
    .await;
}

async fn read_everything(world: &World, first: &Running, second: &Running) -> Found {
    let client = world.client().await.unwrap();
    let row = client.query_one("select root from outbox.tick", &[]).await.unwrap();
    let root = Term::new(row.get("root"));
    let mut streams = HashMap::new();
    for (topic, lane) in [(ITEMS, Lane::Normal), (PRICES, Lane::Critical)] {
        let stream = Stream::new(&Topic::parse(topic).unwrap(), lane);
        let changes = read_stream(&[first, second], &stream, root).await;
        streams.insert(stream, changes);
    }
    let rows = client.query("select event from outbox.change", &[]).await.unwrap();
    let stored: HashSet<Uuid> = rows.iter().map(|row| row.get("event")).collect();
    assert_eq!(stored.len(), rows.len());
    Found { stored, streams }
}

/// Reads a whole stream through the feed; every answer must connect to the one before.
async fn read_stream(relays: &[&Running], stream: &Stream, root: Term) -> Vec<Numbered> {
    let mut all: Vec<Numbered> = Vec::new();
    loop {
        let (after, term) = all.last().map_or((0, root), |last| (last.pn, last.term));
        let uri = format!("/streams/{stream}?after={after}&term={term}&limit=700");
        let answer = ask_leader(relays, &uri).await;
        if answer.envelopes.is_empty() {
            assert_eq!(answer.head.get(), after);
            return all;
        }
        for envelope in answer.envelopes {
            all.extend(Numbered::of(envelope.get().as_bytes()).unwrap());
        }
    }
}

/// The answer of whichever relay leads; the last fault may still be changing that.
async fn ask_leader(relays: &[&Running], uri: &str) -> FeedResponse {
    let answered = Mutex::new(None);
    testkit::eventually("a relay leads and answers", || async {
        for relay in relays {
            let (status, answer) = relay.get_bytes(uri).await?;
            assert!(status == 200 || status == 503, "{status} {answer:?}");
            if status == 200 {
                *answered.lock().unwrap() = Some(serde_json::from_slice(&answer)?);
                return Ok(true);
            }
        }
        Ok(false)
    })
    .await;
    answered.into_inner().unwrap().unwrap()
}

fn check_ledger(ledger: &Ledger, stored: &HashSet<Uuid>) {
    let lost = ledger.committed.difference(stored).count();
    let invented = ledger.rolled_back.intersection(stored).count();
    assert_eq!((lost, invented), (0, 0), "the database itself is wrong");
    assert!(ledger.rolled_back.len() > 100);
    for kind in
        [Kind::Plain, Kind::Savepoints, Kind::EarlyXid, Kind::Prepared, Kind::Long, Kind::Many]
    {
        assert!(ledger.kinds.contains(&kind), "no transaction of kind {kind:?} was committed");
    }
}

fn check_streams(found: &Found) {
    let mut numbered_events = HashSet::new();
    for (stream, changes) in &found.streams {
        let mut versions: HashMap<&str, i64> = HashMap::new();
        for (expected, change) in (1..).zip(changes) {
            assert_eq!(change.pn, expected, "{stream} has a gap");
            assert!(numbered_events.insert(change.event), "{stream} {} is doubled", change.pn);
            let version = versions.entry(&change.key).or_default();
            assert_eq!(
                change.version,
                *version + 1,
                "{stream} {} breaks {}",
                change.pn,
                change.key
            );
            *version = change.version;
        }
    }
    let lost = found.stored.difference(&numbered_events).count();
    let invented = numbered_events.difference(&found.stored).count();
    assert_eq!((lost, invented), (0, 0));
}

/// Each segment connects to the one before, by number and by term.
async fn check_terms(world: &World, leads: &[HashSet<Uuid>]) {
    let client = world.client().await.unwrap();
    let sql = "select stream, first, last, term, previous_term,
                      lag(last, 1, 0::bigint) over w as before,
                      lag(term, 1, (select root from outbox.tick)) over w as before_term
                 from outbox.segment window w as (partition by stream order by first)";
    let segments = client.query(sql, &[]).await.unwrap();
    let terms: HashSet<Uuid> = segments.iter().map(|segment| segment.get("term")).collect();
    assert!(terms.len() > 10, "only {} terms sealed anything", terms.len());
    for led in leads {
        assert!(!led.is_disjoint(&terms), "one of the relays sealed nothing");
    }
    for segment in segments {
        assert_eq!(segment.get::<_, i64>("first"), segment.get::<_, i64>("before") + 1);
        assert_eq!(segment.get::<_, Uuid>("previous_term"), segment.get::<_, Uuid>("before_term"));
    }
}
