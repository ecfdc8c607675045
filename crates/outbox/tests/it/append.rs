//! What `outbox.append` does with versions, equality, expectations and what it refuses.

use tokio_postgres::Client;

use crate::world::{ITEMS, World, put, remove};

async fn count(client: &Client) -> i64 {
    client.query_one("select count(*) as n from outbox.change", &[]).await.unwrap().get("n")
}

async fn append(
    client: &Client,
    key: &str,
    payload: Option<&str>,
    expected: Option<i64>,
) -> Result<i64, String> {
    let op = if payload.is_some() { "upsert" } else { "delete" };
    let sql = "select outbox.append($1, $2, $3, $4, $5) as version";
    let payload = payload.map(str::as_bytes);
    match client.query_one(sql, &[&ITEMS, &key, &op, &payload, &expected]).await {
        Ok(row) => Ok(row.get("version")),
        Err(error) => {
            let error = error.as_db_error().unwrap();
            Err(format!("{} {}", error.code().code(), error.detail().unwrap_or(error.message())))
        }
    }
}

#[tokio::test]
async fn versions_are_dense_and_survive_a_delete() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    assert_eq!(put(&client, "a", "{\"n\":1}").await.unwrap(), 1);
    assert_eq!(put(&client, "a", "{\"n\":2}").await.unwrap(), 2);
    assert_eq!(remove(&client, "a").await.unwrap(), 3);
    assert_eq!(put(&client, "a", "{\"n\":2}").await.unwrap(), 4);
    assert_eq!(count(&client).await, 4);
    let sql = "select version, deleted, payload from outbox.current where key = 'a'";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>("version"), 4);
    assert!(!row.get::<_, bool>("deleted"));
    assert_eq!(row.get::<_, &[u8]>("payload"), b"{\"n\":2}");
}

#[tokio::test]
async fn what_is_equal_appends_nothing_unless_forced() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    for _ in 0..3 {
        assert_eq!(put(&client, "a", "{\"n\":1}").await.unwrap(), 1);
    }
    for _ in 0..3 {
        assert_eq!(remove(&client, "a").await.unwrap(), 2);
    }
    assert_eq!(remove(&client, "never").await.unwrap(), 0);
    assert_eq!(count(&client).await, 2);
    let sql = "select outbox.append($1, 'b', 'upsert', '{}', p_force => true) as version";
    for version in 1..=2_i64 {
        let row = client.query_one(sql, &[&ITEMS]).await.unwrap();
        assert_eq!(row.get::<_, i64>("version"), version);
    }
}

#[tokio::test]
async fn a_wrong_expectation_is_refused_with_the_version_that_holds() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let one = Some("{\"n\":1}");
    let two = Some("{\"n\":2}");
    assert_eq!(append(&client, "a", one, Some(1)).await, Err("SL412 0".to_owned()));
    assert_eq!(append(&client, "a", one, Some(0)).await, Ok(1));
    assert_eq!(append(&client, "a", two, Some(0)).await, Err("SL412 1".to_owned()));
    assert_eq!(append(&client, "a", two, Some(2)).await, Err("SL412 1".to_owned()));
    assert_eq!(append(&client, "a", None, Some(0)).await, Err("SL412 1".to_owned()));
    // Expectation comes before equality.
    assert_eq!(append(&client, "a", one, Some(7)).await, Err("SL412 1".to_owned()));
    assert_eq!(append(&client, "a", one, Some(1)).await, Ok(1));
    assert_eq!(append(&client, "a", None, Some(1)).await, Ok(2));
    // 0 is absent or deleted.
    assert_eq!(append(&client, "a", None, Some(0)).await, Ok(2));
    assert_eq!(append(&client, "never", None, Some(0)).await, Ok(0));
    assert_eq!(append(&client, "a", one, Some(0)).await, Ok(3));
    assert_eq!(count(&client).await, 3);
}

#[tokio::test]
async fn what_could_not_travel_is_refused() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let large = format!("\"{}\"", "x".repeat(2_097_151));
    let deep = "[".repeat(100_000);
    for (payload, reason) in [
        ("", "no payload"),
        ("{", "payload is not JSON"),
        ("{} {}", "payload is not JSON"),
        ("null", "payload is null, which no consumer can tell from none"),
        (&deep, "payload is not JSON"),
        (" {}", "payload has surrounding whitespace"),
        ("{}\n", "payload has surrounding whitespace"),
        (&large, "payload of 2097153 bytes, at most 2097152 travel"),
    ] {
        let refused = append(&client, "a", Some(payload), None).await;
        assert_eq!(refused, Err(format!("SL422 {reason}")));
    }
    let key = "SL422 key is not 1 to 256 bytes without control characters";
    for bad in ["", "a\nb", "a\u{85}b", &"x".repeat(257)] {
        assert_eq!(append(&client, bad, Some("{}"), None).await, Err(key.to_owned()), "{bad:?}");
    }
    let sql = "select outbox.append($1, 'a', $2, $3)";
    for (topic, op, payload) in [
        ("shop.unknown", "upsert", Some(&b"{}"[..])),
        (ITEMS, "merge", Some(&b"{}"[..])),
        (ITEMS, "upsert", Some(&b"\"\xff\""[..])),
        (ITEMS, "upsert", None),
    ] {
        let error = client.query_one(sql, &[&topic, &op, &payload]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "SL422", "{topic} {op}");
    }
    let sql = "select outbox.append($1, 'a', 'upsert', '{}', p_tenant => $2)";
    for tenant in ["x".repeat(129), "a\nb".to_owned(), "a\u{85}".to_owned()] {
        let error = client.query_one(sql, &[&ITEMS, &tenant]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "SL422", "{tenant:?}");
    }
    assert_eq!(count(&client).await, 0);
}

#[tokio::test]
async fn a_trace_that_is_too_long_is_left_out_and_holds_up_nothing() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (key, sent) in [("a", trace.to_owned()), ("b", "x".repeat(5_000_000))] {
        let sql = "select outbox.append($1, $2, 'upsert', '{}', p_trace => $3, p_tenant => $4)";
        client.query_one(sql, &[&ITEMS, &key, &sent, &"x".repeat(128)]).await.unwrap();
    }
    let rows = client.query("select trace from outbox.change order by id", &[]).await.unwrap();
    let traces: Vec<Option<&str>> = rows.iter().map(|row| row.get("trace")).collect();
    assert_eq!(traces, [Some(trace), None]);
}

#[tokio::test]
async fn concurrent_writers_of_one_key_get_consecutive_versions_and_ids() {
    let world = World::new().await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let client = world.client().await.unwrap();
        writers.spawn(async move {
            for n in 0..20 {
                put(&client, "hot", &format!("{{\"n\":{n},\"by\":{writer}}}")).await.unwrap();
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let client = world.client().await.unwrap();
    let sql = "select version from outbox.change order by id";
    let versions: Vec<i64> =
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get("version")).collect();
    assert_eq!(versions, (1..=320).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_service_may_append_and_look_and_nothing_else() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    client.batch_execute("set role syncline_service").await.unwrap();
    assert_eq!(put(&client, "a", "{}").await.unwrap(), 1);
    client.query("select version from outbox.current", &[]).await.unwrap();
    for forbidden in [
        "update outbox.current set version = 9",
        "insert into outbox.topic values ('shop.more', 'bulk', '1')",
        "select * from outbox.change",
        "select * from outbox.tick",
        "update outbox.tick set n = 9",
        "delete from outbox.consumer",
    ] {
        let error = client.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{forbidden}");
    }
}

#[tokio::test]
async fn the_relay_may_not_change_what_was_written() {
    let world = World::new().await.unwrap();
    let client = world.client().await.unwrap();
    client.batch_execute("set role syncline_relay").await.unwrap();
    for forbidden in [
        "select outbox.append('shop.items', 'a', 'delete', null)",
        "update outbox.current set version = 9",
        "delete from outbox.change",
        "update outbox.segment set last = 9",
        "insert into outbox.topic values ('shop.more', 'bulk', '1')",
    ] {
        let error = client.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{forbidden}");
    }
}
