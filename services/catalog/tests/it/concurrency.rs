//! Writers of one record at the same time.

use futures::future::join_all;

use crate::world::World;

const PATH: &str = "/api/v1/products/a";

fn body(name: usize) -> String {
    format!("{{\"name\":\"{name}\",\"categories\":[],\"attributes\":{{}}}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_writers_that_name_the_same_state_one_wins() -> anyhow::Result<()> {
    let world = World::create().await?;
    let mut tag = world.put(PATH, &body(0)).await.etag().to_owned();
    for round in 1..10 {
        let headers = [("if-match", tag.as_str())];
        let bodies: Vec<_> = (0..8).map(|writer| body(round * 100 + writer)).collect();
        let writes = bodies.iter().map(|body| world.send("PUT", PATH, &headers, body));
        let answers = join_all(writes).await;
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        let stale = answers.iter().filter(|answer| answer.status == 412).count();
        assert_eq!((won.len(), stale), (1, 7), "{answers:?}");
        tag = won[0].etag().to_owned();
    }
    assert_eq!(world.get(PATH).await.etag(), tag);
    assert_eq!(world.stored().await?, [1, 0, 1, 10, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_writers_that_only_create_one_wins() -> anyhow::Result<()> {
    let world = World::create().await?;
    let headers = [("if-none-match", "*")];
    let bodies: Vec<_> = (0..8).map(body).collect();
    let writes = bodies.iter().map(|body| world.send("PUT", PATH, &headers, body));
    let answers = join_all(writes).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.status == 412).count(), 7, "{answers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_without_conditions_all_get_versions_of_their_own() -> anyhow::Result<()> {
    let world = World::create().await?;
    let bodies: Vec<_> = (0..16).map(body).collect();
    let writes = bodies.iter().map(|body| world.put(PATH, body));
    let answers = join_all(writes).await;
    let mut versions: Vec<u32> = answers
        .iter()
        .map(|answer| answer.etag().trim_matches('"').split('-').next().unwrap().parse().unwrap())
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=16).collect::<Vec<_>>());
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    Ok(())
}
