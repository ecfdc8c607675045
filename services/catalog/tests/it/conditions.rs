//! Optimistic writes: nothing is written over a state that the caller has not seen.

use crate::world::{Answer, World};

const PATH: &str = "/api/v1/products/a";
const STALE: (u16, &str) = (412, "precondition-failed");

fn body(name: &str) -> String {
    format!("{{\"name\":\"{name}\",\"categories\":[],\"attributes\":{{}}}}")
}

async fn put(world: &World, headers: &[(&str, &str)], name: &str) -> Answer {
    world.send("PUT", PATH, headers, &body(name)).await
}

fn assert_stale(answer: &Answer) {
    let (status, code) = answer.problem();
    assert_eq!((status, code.as_str()), STALE);
}

#[tokio::test]
async fn a_stale_tag_is_refused_and_nothing_is_stored() -> anyhow::Result<()> {
    let world = World::create().await?;
    let first = world.put(PATH, &body("one")).await;
    let second = put(&world, &[("if-match", first.etag())], "two").await;
    assert_eq!(second.status, 200);
    assert_stale(&put(&world, &[("if-match", first.etag())], "three").await);
    let headers = [("if-match", first.etag())];
    assert_stale(&world.send("DELETE", PATH, &headers, "").await);
    assert_eq!(world.get(PATH).await.etag(), second.etag());
    assert_eq!(world.stored().await?, [1, 0, 1, 2, 0]);
    assert_eq!(world.send("DELETE", PATH, &[("if-match", second.etag())], "").await.status, 204);
    Ok(())
}

#[tokio::test]
async fn the_same_version_of_another_history_is_stale() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.put(PATH, &body("one")).await;
    assert_stale(&put(&world, &[("if-match", "\"1-00000000\"")], "two").await);
    assert_stale(&put(&world, &[("if-match", "\"other\"")], "two").await);
    Ok(())
}

#[tokio::test]
async fn a_star_asks_for_any_record_or_for_none() -> anyhow::Result<()> {
    let world = World::create().await?;
    assert_stale(&put(&world, &[("if-match", "*")], "one").await);
    assert_eq!(world.stored().await?, [0; 5]);
    assert_eq!(put(&world, &[("if-none-match", "*")], "one").await.status, 201);
    assert_stale(&put(&world, &[("if-none-match", "*")], "two").await);
    assert_eq!(put(&world, &[("if-match", "*")], "two").await.status, 200);
    assert_eq!(world.send("DELETE", PATH, &[], "").await.status, 204);
    assert_eq!(put(&world, &[("if-none-match", "*")], "three").await.status, 201);
    Ok(())
}

#[tokio::test]
async fn a_condition_that_cannot_be_read_is_told() -> anyhow::Result<()> {
    let world = World::create().await?;
    let answer = put(&world, &[("if-match", "1-abc")], "one").await;
    assert_eq!(answer.problem(), (400, "malformed-condition".to_owned()));
    Ok(())
}
