//! That `outbox.append_many` does to many entities what `outbox.append` does to each.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::world::{ITEMS, PRICES, World, put, remove};

const APPEND_MANY: &str = "select outbox.append_many($1, $2, $3, $4, p_force => $5) as versions";

type Entity = (String, Option<String>);

/// What is appended in one call.
#[derive(Clone, Copy)]
struct Batch<'a> {
    topic: &'a str,
    entities: &'a [Entity],
    force: bool,
}

async fn many(client: &Client, batch: Batch<'_>) -> Result<Vec<i64>, tokio_postgres::Error> {
    let Batch { topic, entities, force } = batch;
    let keys: Vec<&str> = entities.iter().map(|(key, _)| key.as_str()).collect();
    let payloads: Vec<Option<&[u8]>> =
        entities.iter().map(|(_, payload)| payload.as_deref().map(str::as_bytes)).collect();
    let events: Vec<Uuid> = entities.iter().map(|_| Uuid::now_v7()).collect();
    let row = client.query_one(APPEND_MANY, &[&topic, &keys, &payloads, &events, &force]).await?;
    Ok(row.get("versions"))
}

/// The same one by one, in the order in which many are taken.
async fn each(client: &Client, batch: Batch<'_>) -> Vec<i64> {
    let Batch { topic, entities, force } = batch;
    let mut places: Vec<usize> = (0..entities.len()).collect();
    places.sort_by_key(|place| &entities[*place].0);
    let mut versions = vec![0; entities.len()];
    for place in places {
        let (key, payload) = &entities[place];
        let op = if payload.is_some() { "upsert" } else { "delete" };
        let sql = "select outbox.append($1, $2, $3, $4, p_force => $5) as version";
        let payload = payload.as_deref().map(str::as_bytes);
        let row = client.query_one(sql, &[&topic, key, &op, &payload, &force]).await.unwrap();
        versions[place] = row.get("version");
    }
    versions
}

/// What is appended to the items unless it is equal.
fn items(entities: &[Entity]) -> Batch<'_> {
    Batch { topic: ITEMS, entities, force: false }
}

async fn changes(client: &Client, topic: &str) -> Vec<(String, i64, String, Option<Vec<u8>>)> {
    let sql = "select key, version, op, payload from outbox.change where topic = $1 order by id";
    let rows = client.query(sql, &[&topic]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

#[tokio::test]
async fn many_together_are_what_each_is_alone() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..150 {
        let count = random.random_range(0..12);
        // Few keys, so that some batches hold one twice; few payloads, so that many are equal.
        let entities: Vec<Entity> = (0..count)
            .map(|_| {
                let key = format!("k{}", random.random_range(0..60));
                let number = random.random_range(0..4);
                (key, (number > 0).then(|| format!("{{\"n\":{number}}}")))
            })
            .collect();
        let force = random.random_bool(0.1);
        let batch = Batch { topic: ITEMS, entities: &entities, force };
        let together = many(&client, batch).await.unwrap();
        let alone = each(&client, Batch { topic: PRICES, ..batch }).await;
        assert_eq!(together, alone, "{entities:?}");
    }
    let (together, alone) = (changes(&client, ITEMS).await, changes(&client, PRICES).await);
    assert!(together.len() > 300, "{}", together.len());
    assert!(together.iter().any(|(_, version, op, _)| op == "delete" && *version > 2));
    assert_eq!(together, alone);
}

#[tokio::test]
async fn what_became_equal_while_its_lock_was_waited_for_is_not_appended_again() {
    let world = World::new().await.unwrap();
    let mut first = world.client().await.unwrap();
    put(&first, "c", "{}").await.unwrap();
    put(&first, "d", "{}").await.unwrap();
    let rival = first.transaction().await.unwrap();
    rival
        .batch_execute(
            "select outbox.append('shop.items', 'b', 'upsert', '{\"n\":1}'),
                         outbox.append('shop.items', 'c', 'delete', null),
                         outbox.append('shop.items', 'd', 'upsert', '{\"n\":2}')",
        )
        .await
        .unwrap();
    let second = world.client().await.unwrap();
    second.batch_execute("set application_name = 'second'").await.unwrap();
    let entities = [("d", Some(1)), ("c", None), ("b", Some(1)), ("a", Some(1))];
    let entities = entities.map(|(key, n)| (key.to_owned(), n.map(|n| format!("{{\"n\":{n}}}"))));
    let waiting = many(&second, items(&entities));
    let ending = async {
        world.blocked("second").await;
        rival.commit().await.unwrap();
    };
    let (versions, ()) = futures::join!(waiting, ending);
    assert_eq!(versions.unwrap(), [3, 2, 1, 1]);
    let keys: Vec<String> =
        changes(&second, ITEMS).await.into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, ["c", "d", "b", "c", "d", "a", "d"]);

    let rival = first.transaction().await.unwrap();
    rival.batch_execute("select outbox.append('shop.items', 'z', 'upsert', '1')").await.unwrap();
    let entities = [("z".to_owned(), Some("1".to_owned()))];
    let waiting = many(&second, items(&entities));
    let ending = async {
        world.blocked("second").await;
        rival.commit().await.unwrap();
    };
    let (versions, ()) = futures::join!(waiting, ending);
    assert_eq!(versions.unwrap(), [1]);
    assert_eq!(changes(&second, ITEMS).await.len(), 8);
}

#[tokio::test]
async fn concurrent_writers_of_many_keep_the_order_of_each_key_and_never_wait_in_a_circle() {
    let world = World::new().await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..8_u64 {
        let client = world.client().await.unwrap();
        writers.spawn(async move {
            let mut random = StdRng::seed_from_u64(writer);
            for round in 0..25 {
                let entities: Vec<Entity> = (0..20)
                    .map(|_| {
                        let payload = format!("{{\"n\":{round},\"by\":{writer}}}");
                        let payload = random.random_bool(0.8).then_some(payload);
                        (format!("k{}", random.random_range(0..200)), payload)
                    })
                    .collect();
                many(&client, items(&entities)).await.unwrap();
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let client = world.client().await.unwrap();
    let sql = "select count(*) as n, count(*) filter (where version <> place) as misplaced
                 from (select version, row_number() over (partition by key order by id) as place
                         from outbox.change) as numbered";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert!(row.get::<_, i64>("n") > 2000);
    assert_eq!(row.get::<_, i64>("misplaced"), 0);
}

#[tokio::test]
async fn of_many_one_that_could_not_travel_refuses_all() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    put(&client, "old", "{}").await.unwrap();
    remove(&client, "old").await.unwrap();
    let long = "x".repeat(257);
    for (topic, key, payload, reason) in [
        ("shop.unknown", "b", "{}", "unknown topic shop.unknown"),
        (ITEMS, "", "{}", "key is not 1 to 256 bytes without control characters"),
        (ITEMS, "b\n", "{}", "key is not 1 to 256 bytes without control characters"),
        (ITEMS, "b\u{85}", "{}", "key is not 1 to 256 bytes without control characters"),
        (ITEMS, &long, "{}", "key is not 1 to 256 bytes without control characters"),
        (ITEMS, "b", "", "no payload"),
        (ITEMS, "b", "{", "payload is not JSON"),
        (ITEMS, "b", "{} {}", "payload is not JSON"),
        (ITEMS, "b", "{}\n", "payload has surrounding whitespace"),
        (ITEMS, "b", "null", "payload is null, which no consumer can tell from none"),
    ] {
        let entities = [("a", Some("{}")), (key, Some(payload)), ("old", None), ("c", Some("1"))];
        let entities = entities.map(|(k, p)| (k.to_owned(), p.map(str::to_owned)));
        let error = many(&client, Batch { topic, ..items(&entities) }).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!((error.code().code(), error.message()), ("SL422", reason));
    }
    assert_eq!(changes(&client, ITEMS).await.len(), 2);
}
