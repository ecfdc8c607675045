//! What an answer says beside its record is said again to a repeat, and forgotten after a day.

use service_kit::BoxError;
use tokio_util::sync::CancellationToken;

use crate::world::World;

const JSON: (&str, &str) = ("content-type", "application/json");
const KEY: (&str, &str) = ("idempotency-key", "k-1");

#[tokio::test]
async fn what_a_record_waits_for_is_told_in_the_answer_and_in_its_repeat() -> anyhow::Result<()> {
    let world = World::create().await?;
    let body = r#"{"id":"a","street":"Low Street"}"#;
    let first = world.send(("PUT", "/parcels"), &[JSON, KEY], body).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.header("syncline-waits-for"), Some("city.streets/Low Street"));
    assert_eq!(world.send(("PUT", "/parcels"), &[JSON, KEY], body).await, first);
    let known = r#"{"id":"a","street":"High Street"}"#;
    let second = world.send(("PUT", "/parcels"), &[JSON], known).await;
    assert_eq!((second.status.as_u16(), second.header("syncline-waits-for")), (200, None));
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_no_record_is_given_again_with_its_place() -> anyhow::Result<()> {
    let world = World::create().await?;
    let send = ("POST", "/parcels/a/send");
    let first = world.send(send, &[KEY], "").await;
    assert_eq!((first.status.as_u16(), &first.body[..]), (201, &b"{\"receipt\":1}"[..]));
    assert_eq!(first.header("location"), Some("/receipts/a-1"));
    assert_eq!(first.header("etag"), None);
    assert_eq!(world.send(send, &[KEY], "").await, first);
    let read = world.send(("GET", "/parcels/a"), &[], "").await;
    assert_eq!(&read.body[..], b"\"sent\"");
    Ok(())
}

#[tokio::test]
async fn what_is_older_than_a_day_is_forgotten_and_nothing_else() -> anyhow::Result<()> {
    let world = World::create().await?;
    let ndjson = ("content-type", "application/x-ndjson");
    for key in ["old", "new"] {
        let headers = [ndjson, ("idempotency-key", key)];
        let file = format!("{{\"id\":\"{key}\",\"street\":\"x\"}}\n{{}}\n");
        world.send(("POST", "/parcels/import"), &headers, &file).await;
        world.send(("POST", "/parcels/b/send"), &[("idempotency-key", key)], "").await;
    }
    assert_eq!(world.kept().await?, (2, 2, 2));
    let client = world.database.connect().await?;
    for table in ["answer", "import"] {
        let age = format!(
            "update records.{table} set stored_at = now() - interval '25 hours' where key = 'old'"
        );
        assert_eq!(client.execute(&age, &[]).await?, 1);
    }
    let stop = CancellationToken::new();
    let pruned = async {
        testkit::eventually("the old ones are gone", || async {
            Ok(world.kept().await? == (1, 1, 1))
        })
        .await;
        stop.cancel();
        Ok::<(), BoxError>(())
    };
    let (ended, _) = tokio::join!(records::prune(world.pool.clone(), stop.clone()), pruned);
    ended.map_err(|error| anyhow::anyhow!(error))
}
