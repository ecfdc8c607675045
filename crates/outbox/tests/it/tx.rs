//! A service's transaction from Rust: what it appends, what it costs, how it fails.

use std::collections::BTreeMap;

use deadpool_postgres::Client;
use futures::future::join;
use serde_json::json;

use contracts::Version;
use outbox::{Append, Error, Tx};

use crate::proxy::{Proxy, Wire};
use crate::world::{ITEMS, World, pool};

async fn world() -> (World, Client) {
    let world = World::new().await.unwrap();
    let client = world.pool.get().await.unwrap();
    client.batch_execute("create table item (id text primary key, n int)").await.unwrap();
    (world, client)
}

async fn items(client: &Client) -> i64 {
    client.query_one("select count(*) as n from item", &[]).await.unwrap().get("n")
}

fn version(n: i64) -> Version {
    Version::try_from(n).unwrap()
}

const INSERT: &str = "insert into item (id, n) values ($1, $2)";

#[tokio::test]
async fn a_row_and_its_change_are_committed_together() {
    let (_world, client) = world().await;
    let tx = Tx::begin(&client);
    assert_eq!(tx.execute(INSERT, &[&"a", &1]).await.unwrap(), 1);
    let change = Append::upsert(ITEMS, "a", &json!({"n": 1})).unwrap();
    assert_eq!(tx.append_and_commit(&change).await.unwrap(), version(1));

    let tx = Tx::begin(&client);
    let next = outbox::append_if(&tx, ITEMS, "a", &json!({"n": 2}), version(1)).await.unwrap();
    assert_eq!(next, version(2));
    assert_eq!(outbox::delete(&tx, ITEMS, "a").await.unwrap(), version(3));
    tx.commit().await.unwrap();

    let sql = "select event, version from outbox.change order by id";
    let rows = client.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let event: uuid::Uuid = row.get("event");
        assert_eq!(event.get_version_num(), 7);
    }
    assert_eq!(items(&client).await, 1);
}

#[tokio::test]
async fn a_dropped_transaction_rolls_back_and_its_connection_can_be_used_again() {
    let (_world, client) = world().await;
    let tx = Tx::begin(&client);
    tx.execute(INSERT, &[&"a", &1]).await.unwrap();
    outbox::append(&tx, ITEMS, "a", &json!({})).await.unwrap();
    drop(tx);
    assert_eq!(items(&client).await, 0);
    let sql = "select count(*) as n from outbox.change";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>("n"), 0);
}

#[tokio::test]
async fn a_refused_append_takes_the_row_back_with_it() {
    let (_world, client) = world().await;
    let tx = Tx::begin(&client);
    tx.execute(INSERT, &[&"a", &1]).await.unwrap();
    let change = Append::upsert(ITEMS, "a", &json!({})).unwrap().expecting(version(4));
    let error = tx.append_and_commit(&change).await.unwrap_err();
    let Error::VersionMismatch { key, expected, actual } = error else { panic!("{error:?}") };
    assert_eq!((key.as_str(), expected, actual), ("a", version(4), version(0)));
    assert_eq!(items(&client).await, 0);

    let tx = Tx::begin(&client);
    let error = outbox::append(&tx, "shop.unknown", "a", &json!({})).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
}

const WRITE: &str = "
    with saved as (insert into item (id, n) values ($2, $10) returning n)
    select n, outbox.append($1, $2, $3, $4, $5, $6, $7, $8, $9) as version from saved";

#[tokio::test]
async fn in_one_statement_row_and_change_are_committed_together_or_not_at_all() {
    let (_world, client) = world().await;
    let change = Append::upsert(ITEMS, "a", &json!({"n": 1})).unwrap();
    let row = outbox::write(&client, WRITE, &[&1], &change).await.unwrap();
    assert_eq!((row.get::<_, i32>("n"), row.get::<_, i64>("version")), (1, 1));

    let newer = Append::upsert(ITEMS, "a", &json!({"n": 2})).unwrap();
    let error = outbox::write(&client, WRITE, &[&2], &newer).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23505");
    let strange = Append::upsert("shop.unknown", "b", &json!({})).unwrap();
    let error = outbox::write(&client, WRITE, &[&1], &strange).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    let late = Append::upsert(ITEMS, "b", &json!({})).unwrap().expecting(version(4));
    let error = outbox::write(&client, WRITE, &[&1], &late).await.unwrap_err();
    assert!(matches!(error, Error::VersionMismatch { .. }), "{error:?}");

    assert_eq!(items(&client).await, 1);
    let tx = Tx::begin(&client);
    let again = Append::upsert(ITEMS, "a", &json!({"n": 1})).unwrap();
    assert_eq!(tx.append(&again).await.unwrap(), version(1), "one of them was appended");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_statement_whose_session_is_ended_may_have_been_committed() {
    let (world, client) = world().await;
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let slow = WRITE.replace("from saved", "from saved, pg_sleep(20)");
    let change = Append::upsert(ITEMS, "a", &json!({})).unwrap();
    let other = world.client().await.unwrap();
    let ending = async {
        testkit::eventually("it sleeps", || async {
            let sql = "select from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
            Ok(other.query_opt(sql, &[&pid]).await?.is_some())
        })
        .await;
        other.execute("select pg_terminate_backend($1)", &[&pid]).await.unwrap();
    };
    let (written, ()) = join(outbox::write(&client, &slow, &[&1], &change), ending).await;
    assert!(matches!(written, Err(Error::CommitUnknown(_))), "{written:?}");
}

#[tokio::test]
async fn a_commit_after_a_failed_statement_is_no_success() {
    let (_world, client) = world().await;
    let tx = Tx::begin(&client);
    tx.execute(INSERT, &[&"a", &1]).await.unwrap();
    let error = tx.execute(INSERT, &[&"a", &1]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23505");
    assert!(matches!(tx.commit().await, Err(Error::RolledBack)));
    assert_eq!(items(&client).await, 0);
}

/// The commit happened, and nobody will ever say so.
#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_outcome_of_the_commit_open() {
    let (world, own) = world().await;
    let change = Append::upsert(ITEMS, "a", &json!({})).unwrap();
    for (number, together) in [(1_i64, true), (2, false)] {
        let proxy = Proxy::before(&world.database).await.unwrap();
        let client = pool(&proxy.url()).unwrap().get().await.unwrap();
        // Prepared once per connection, so that only what is sent from here on is deaf.
        let tx = Tx::begin(&client);
        tx.append(&change).await.unwrap();
        drop(tx);
        let tx = Tx::begin(&client);
        tx.execute(INSERT, &[&number.to_string(), &1]).await.unwrap();
        let cut = async {
            testkit::eventually("it was committed", || async { Ok(items(&own).await == number) })
                .await;
            proxy.turn(Wire::Cut);
        };
        proxy.turn(Wire::Deaf);
        let committing = async {
            if together { tx.append_and_commit(&change).await.map(drop) } else { tx.commit().await }
        };
        let (outcome, ()) = futures::join!(committing, cut);
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::CommitUnknown(_)), "{error:?}");
    }
}

#[tokio::test]
async fn many_are_appended_in_one_statement_and_what_is_equal_is_skipped() {
    let (_world, client) = world().await;
    let values: BTreeMap<String, serde_json::Value> =
        (0..50).map(|n| (format!("k{n}"), json!({ "n": n }))).collect();
    let mut entities: Vec<(&str, &serde_json::Value)> =
        values.iter().map(|(key, value)| (key.as_str(), value)).collect();
    entities.reverse();
    for _ in 0..2 {
        let tx = Tx::begin(&client);
        let versions = outbox::append_many(&tx, ITEMS, &entities).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(versions, vec![version(1); 50]);
    }
    let changed = json!({"n": 1000});
    let tx = Tx::begin(&client);
    let pair = [("k7", &changed), ("k8", &values["k8"])];
    let versions = outbox::append_many(&tx, ITEMS, &pair).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(versions, [version(2), version(1)]);
    let sql = "select count(*) as n from outbox.change";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>("n"), 51);
}
