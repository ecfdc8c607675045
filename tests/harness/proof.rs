//! What the mesh claims, recomputed from the databases of both ends.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contracts::Digest;
use serde_json::Value;
use testkit::within;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use crate::Mesh;

/// Who copies what of a product, its price and its stock: topic and consumer.
pub const COPIES: [(&str, &str); 8] = [
    ("catalog.products", "search-indexer"),
    ("catalog.products", "gateway"),
    ("catalog.products", "pricing"),
    ("catalog.products", "warehouse"),
    ("pricing.prices", "search-indexer"),
    ("pricing.prices", "gateway"),
    ("warehouse.stock", "search-indexer"),
    ("warehouse.stock", "gateway"),
];

/// The two ends of one topic: the owner's database and a consumer's.
#[derive(Debug)]
pub struct Ends {
    /// A connection to the owner's database.
    pub source: Client,
    /// A connection to the consumer's database.
    pub copy: Client,
    /// What travels between them.
    pub topic: &'static str,
    /// Who copies it.
    consumer: String,
}

/// What a consumer keeps of a topic in rows of its own.
struct Rows {
    /// What it wants of `payload`.
    wanted: &'static str,
    /// Its table, and the same of a row `held` of it.
    table: &'static str,
    kept: &'static str,
    /// The version that the row tells, or null.
    version: &'static str,
}

fn rows_of(topic: &str, consumer: &str) -> Option<Rows> {
    let sku_only = |table| Rows {
        wanted: "payload -> 'sku'",
        table,
        kept: "to_jsonb(held.sku)",
        version: "null::bigint",
    };
    Some(match (topic, consumer) {
        ("catalog.products", "pricing") => sku_only("pricing.product"),
        ("catalog.products", "warehouse") => sku_only("warehouse.product"),
        ("catalog.products", "search-indexer") => Rows {
            wanted: "payload",
            table: "search.product",
            kept: "jsonb_build_object('sku', held.key, 'name', held.name,
                     'categories', held.categories, 'attributes', held.attributes)",
            version: "held.version",
        },
        ("pricing.prices", "search-indexer") => Rows {
            wanted: "jsonb_build_array(payload -> 'sku', payload -> 'currency',
                       (payload ->> 'amount')::numeric, (payload ->> 'effective')::numeric,
                       payload -> 'promotion')",
            table: "search.price",
            kept: "jsonb_build_array(held.product, held.currency, held.amount, held.effective,
                     held.promotion)",
            version: "held.version",
        },
        ("warehouse.stock", "search-indexer") => Rows {
            wanted: "jsonb_build_array(payload -> 'sku', payload -> 'location',
                       payload -> 'available')",
            table: "search.stock",
            kept: "jsonb_build_array(held.product, held.location, held.available)",
            version: "held.version",
        },
        _ => return None,
    })
}

/// What was found equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Equal {
    /// Entities that exist.
    pub live: usize,
    /// Entities that are known as deleted.
    pub deleted: usize,
}

/// The books of a copy, as recomputed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    /// Numbers since the copy was loaded.
    pub numbers: i64,
    /// Batches that they came in.
    pub batches: i64,
    /// Batches that the broker delivered.
    pub pushed: i64,
    /// Numbers that had their effect.
    pub applied: i64,
    /// Numbers that were overtaken.
    pub stale: i64,
    /// Numbers that became cases.
    pub cases: i64,
}

type State = (i64, bool, Option<Digest>);

impl Ends {
    /// Connects to both ends of a topic; its source is its name up to the first dot.
    pub async fn open(mesh: &Mesh, topic: &'static str, consumer: &str) -> anyhow::Result<Self> {
        let (source, _) = topic.split_once('.').context("a topic has a source")?;
        let (source, copy) = (mesh.database(source).await?, mesh.database(consumer).await?);
        Ok(Self { source, copy, topic, consumer: consumer.to_owned() })
    }

    /// Waits until the copy has reached every head and nothing is left to be noticed.
    pub async fn settle(&self, limit: Duration) {
        within(limit, "every position is at its head and no key is dirty", async || {
            let heads =
                self.places(&self.source, "select stream, head, term from outbox.stream").await?;
            let reached =
                self.places(&self.copy, "select stream, pn, term from inbox.position").await?;
            let dirty = self.copy.query_one("select count(*) from inbox.dirty", &[]).await?;
            Ok(heads == reached && dirty.get::<_, i64>(0) == 0)
        })
        .await;
    }

    /// Checks that both ends hold the same keys, versions, deletions and digests.
    pub async fn equal(&self) -> anyhow::Result<Equal> {
        let held = "select key, version, deleted, payload from outbox.current where topic = $1";
        let mut source: BTreeMap<String, State> = BTreeMap::new();
        for row in self.source.query(held, &[&self.topic]).await? {
            let payload: Option<Vec<u8>> = row.get("payload");
            let digest = payload.as_deref().map(Digest::of);
            source.insert(row.get("key"), (row.get("version"), row.get("deleted"), digest));
        }
        let copied = "select key, version, deleted, digest from inbox.versions where topic = $1";
        let mut copy: BTreeMap<String, State> = BTreeMap::new();
        for row in self.copy.query(copied, &[&self.topic]).await? {
            let digest: Option<Vec<u8>> = row.get("digest");
            let digest = digest.map(<[u8; 32]>::try_from).transpose();
            let digest = digest.map_err(|_| anyhow::anyhow!("a digest has not 32 bytes"))?;
            let state = (row.get("version"), row.get("deleted"), digest.map(Digest::from));
            copy.insert(row.get("key"), state);
        }
        for (key, state) in &source {
            let found = copy.get(key);
            ensure!(found == Some(state), "{key}: the owner holds {state:?}, the copy {found:?}");
        }
        let foreign = copy.keys().find(|key| !source.contains_key(*key));
        ensure!(foreign.is_none(), "only the copy holds {foreign:?}");
        let deleted = source.values().filter(|(_, deleted, _)| *deleted).count();
        Ok(Equal { live: source.len() - deleted, deleted })
    }

    /// Checks that the rows which the consumer made of its copy say what the owner's payloads say;
    /// answers how many there are.
    pub async fn rows_equal(&self) -> anyhow::Result<usize> {
        let rows = rows_of(self.topic, &self.consumer)
            .with_context(|| format!("{} keeps no rows of {}", self.consumer, self.topic))?;
        let held = format!(
            "select payload, version
               from (select {} as payload, version
                       from (select version, convert_from(payload, 'UTF8')::jsonb as payload
                               from outbox.current where topic = $1 and not deleted) as owned)
                    as wanted
              order by payload::text collate \"C\"",
            rows.wanted
        );
        let owned = self.source.query(&held, &[&self.topic]).await?;
        let kept = format!(
            "select payload, version
               from (select {} as payload, {} as version from {} as held) as kept
              order by payload::text collate \"C\"",
            rows.kept, rows.version, rows.table
        );
        let copied = self.copy.query(&kept, &[]).await?;
        ensure!(owned.len() == copied.len(), "{} owned, {} copied", owned.len(), copied.len());
        for (owner, copy) in owned.iter().zip(&copied) {
            let state =
                |row: &Row| -> (Value, Option<i64>) { (row.get("payload"), row.get("version")) };
            let (payload, version) = state(owner);
            let (copied, of) = state(copy);
            ensure!(payload == copied, "{}: {copied} is not {payload}", self.consumer);
            ensure!(of.is_none() || of == version, "{payload}: version {of:?} of {version:?}");
        }
        Ok(copied.len())
    }

    /// Checks that the source numbered densely, that the journal covers every number once, and that
    /// journal, cases and counters tell the same story.
    pub async fn books(&mut self) -> anyhow::Result<Books> {
        let streams =
            self.places(&self.source, "select stream, head, term from outbox.stream").await?;
        for (stream, (head, _)) in &streams {
            self.segments_are_dense(stream, *head).await?;
        }
        self.books_in_flight().await
    }

    /// The same of the copy alone, which holds at every instant, also while changes flow.
    pub async fn books_in_flight(&mut self) -> anyhow::Result<Books> {
        let snapshot =
            self.copy.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let snapshot = snapshot.read_only(true).start().await?;
        let streams = "select stream from inbox.position where topic = $1";
        let mut books = Books::default();
        for row in snapshot.query(streams, &[&self.topic]).await? {
            add_books(&snapshot, row.get("stream"), &mut books).await?;
        }
        Ok(books)
    }

    async fn segments_are_dense(&self, stream: &str, head: i64) -> anyhow::Result<()> {
        let segments = "select first, last, lag(last, 1, 0::bigint) over (order by first) as before
                          from outbox.segment where stream = $1 order by first";
        let mut sealed = 0;
        for row in self.source.query(segments, &[&stream]).await? {
            let (first, before): (i64, i64) = (row.get("first"), row.get("before"));
            ensure!(first == before + 1, "{stream}: {first} follows {before}");
            sealed = row.get("last");
        }
        ensure!(sealed == head, "{stream}: sealed up to {sealed}, but its head is {head}");
        Ok(())
    }

    /// Position or head, with its term, of each stream of the topic.
    async fn places(
        &self,
        client: &Client,
        select: &str,
    ) -> anyhow::Result<BTreeMap<String, (i64, String)>> {
        let sql = format!(
            "select stream, number, term::text from ({select}) as place (stream, number, term)
                            where stream like $1"
        );
        let rows = client.query(&sql, &[&format!("{}.%", self.topic)]).await?;
        let place = |row: &Row| (row.get(0), (row.get(1), row.get(2)));
        Ok(rows.iter().map(place).collect())
    }
}

async fn add_books(copy: &Transaction<'_>, stream: &str, books: &mut Books) -> anyhow::Result<()> {
    let position = "select pn, start, applied, stale, filtered, superseded, discarded, lost,
                           open_cases from inbox.position where stream = $1";
    let position = copy.query_opt(position, &[&stream]).await?.context("no position")?;
    let count = |name: &str| position.get::<_, i64>(name);
    let mut reached = count("start");
    let (mut applied, mut stale, mut cases) = (0, 0, 0);
    let journal = "select first, last, via, applied, cardinality(stale)::bigint as stale,
                          cardinality(cases)::bigint as cases
                     from inbox.journal where stream = $1 and first > $2 order by first, id";
    for row in copy.query(journal, &[&stream, &reached]).await? {
        let (first, last): (i64, i64) = (row.get("first"), row.get("last"));
        ensure!(first == reached + 1, "{stream}: batch {first}-{last} follows {reached}");
        applied += row.get::<_, i64>("applied");
        stale += row.get::<_, i64>("stale");
        cases += row.get::<_, i64>("cases");
        books.batches += 1;
        books.pushed += i64::from(row.get::<_, &str>("via") == "push");
        reached = last;
    }
    ensure!(reached == count("pn"), "{stream}: the journal ends at {reached}, {}", count("pn"));
    ensure!(applied + stale + cases == reached - count("start"), "{stream}: the journal's sums");
    let closed = "select count(*) filter (where state = 'applied') as applied,
                         count(*) filter (where state = 'superseded') as superseded,
                         count(*) filter (where state = 'discarded') as discarded,
                         count(*) filter (where state = 'open') as open_cases
                    from inbox.cases where stream = $1 and pn > $2";
    let closed = copy.query_one(closed, &[&stream, &count("start")]).await?;
    let of_cases = |name: &str| closed.get::<_, i64>(name);
    ensure!(count("applied") == applied + of_cases("applied"), "{stream}: applied");
    ensure!(count("stale") == stale, "{stream}: stale");
    for state in ["superseded", "discarded", "open_cases"] {
        ensure!(count(state) == of_cases(state), "{stream}: {state}");
    }
    ensure!(count("filtered") == 0 && count("lost") == 0, "{stream}: filtered or lost");
    books.numbers += reached - count("start");
    books.applied += applied;
    books.stale += stale;
    books.cases += cases;
    Ok(())
}
