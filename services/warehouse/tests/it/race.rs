//! Many who want the same.

use futures::future::join_all;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_who_reserve_the_last_item_one_gets_it() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(1).await;
    let answers = join_all((0..100).map(|_| world.reserve(1, 60))).await;
    let won = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| answer.status == 409);
    let refused = refused.filter(|answer| {
        answer.field() == ("/quantity".to_owned(), "insufficient-stock".to_owned())
    });
    assert_eq!((won, refused.count()), (1, 99));
    assert_eq!(world.level().await, (1, 1, 0));
    // A count and a reservation of stock, and the location.
    assert_eq!(world.stored().await?, [1, 1, 1, 2, 3, 0]);
    world.assert_sound().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_who_sell_ten_items_ten_do() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(10).await;
    let path = format!("{}/adjustments", crate::world::STOCK);
    let answers = join_all((0..100).map(|_| world.post(&path, r#"{"delta":-1}"#))).await;
    let sold = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((sold, refused), (10, 90));
    assert_eq!(world.level().await, (0, 0, 0));
    world.assert_sound().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_writers_of_new_stock_all_find_one_row() -> anyhow::Result<()> {
    let world = World::create().await?;
    let path = format!("{}/adjustments", crate::world::STOCK);
    let answers = join_all((0..50).map(|_| world.post(&path, r#"{"delta":1}"#))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(world.level().await, (50, 0, 50));
    assert_eq!(world.stored().await?, [1, 1, 0, 2, 51, 0]);
    world.assert_sound().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reservation_that_is_fulfilled_released_and_expires_at_once_ends_once()
-> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(1_000).await;
    let mut seen = std::collections::BTreeMap::new();
    for round in 0..60 {
        let (on_hand, _, _) = world.level().await;
        let path = world.reserve(1, 1).await.header("location").to_owned();
        let fulfilment = format!("{path}/fulfilment");
        let (worker, another) = (world.expiry(), world.expiry());
        // The time is over before the holders come, ends while they come, or lasts.
        match round % 3 {
            0 => assert_eq!(world.pass(1.0).await?, 1),
            1 => assert_eq!(world.pass(0.985).await?, 1),
            _ => {}
        }
        let (sold, released, first, second) = tokio::join!(
            world.post(&fulfilment, ""),
            world.delete(&path),
            worker.turn(),
            another.turn(),
        );
        for turn in [first, second] {
            assert!(turn.is_ok(), "{turn:?}");
        }
        let state = world.get(&path).await.json()["state"].as_str().unwrap_or("").to_owned();
        let ends = (sold.status.as_u16(), released.status.as_u16());
        let expected = match state.as_str() {
            "fulfilled" => ((200, 410), on_hand - 1),
            "released" => ((410, 204), on_hand),
            "expired" => ((410, 410), on_hand),
            other => panic!("it is {other}"),
        };
        assert_eq!((ends, world.level().await.0), expected, "round {round}: {state}");
        *seen.entry(state).or_insert(0) += 1;
        // What it left to those who held the stock it takes back when they are done.
        testkit::eventually("nothing is reserved", || async {
            let turn = world.expiry().turn().await;
            assert!(turn.is_ok(), "{turn:?}");
            Ok(world.level().await.1 == 0)
        })
        .await;
        world.assert_sound().await?;
    }
    assert!(seen.len() >= 2, "the race always ended the same way: {seen:?}");
    Ok(())
}
