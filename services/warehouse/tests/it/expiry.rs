//! Reservations that end by themselves.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use warehouse::Turn;

use crate::world::World;

async fn turn(world: &World) -> anyhow::Result<Turn> {
    world.expiry().turn().await.map_err(|error| anyhow::anyhow!(error))
}

#[tokio::test]
async fn a_reservation_ends_at_its_time_and_its_stock_is_published() -> anyhow::Result<()> {
    let world = World::create().await?;
    assert_eq!(turn(&world).await?, Turn::Idle(None));
    world.count(5).await;
    let path = world.reserve(2, 60).await.header("location").to_owned();
    let Turn::Idle(Some(wait)) = turn(&world).await? else { panic!("nothing is due") };
    assert!((Duration::from_secs(50)..=Duration::from_secs(60)).contains(&wait), "{wait:?}");
    world.pass(60.0).await?;
    assert_eq!(turn(&world).await?, Turn::Expired(1));
    assert_eq!(world.level().await, (5, 0, 5));
    assert_eq!(world.get(&path).await.json()["state"], "expired");
    assert_eq!(turn(&world).await?, Turn::Idle(None));
    world.assert_sound().await
}

#[tokio::test]
async fn one_whose_time_is_over_cannot_be_used_though_nobody_took_it_back() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(5).await;
    let path = world.reserve(2, 60).await.header("location").to_owned();
    world.pass(60.0).await?;
    assert_eq!(world.get(&path).await.json()["state"], "expired");
    let sold = world.post(&format!("{path}/fulfilment"), "").await;
    assert_eq!(sold.problem(), (410, "reservation-ended".to_owned()));
    assert_eq!(world.delete(&path).await.problem().0, 410);
    assert_eq!(world.level().await, (5, 2, 3), "it waits for the worker");
    assert_eq!(turn(&world).await?, Turn::Expired(1));
    assert_eq!(world.level().await, (5, 0, 5));
    Ok(())
}

#[tokio::test]
async fn many_that_ended_meanwhile_are_taken_back_in_batches() -> anyhow::Result<()> {
    let world = World::create().await?;
    let client = world.database.connect().await?;
    for sku in 0..5 {
        for location in 0..5 {
            let path = format!("/api/v1/stock/{sku}/s{location}");
            world.put(&path, r#"{"on_hand":10}"#).await;
        }
    }
    let many = "with made as (
            insert into warehouse.reservation (id, sku, location, quantity, expires_at)
            select gen_random_uuid(), sku, location, 1, now() - interval '1 hour'
              from warehouse.stock, generate_series(1, 10))
        update warehouse.stock set reserved = 10";
    client.execute(many, &[]).await?;
    let (mut ended, mut turns) = (0, 0);
    while let Turn::Expired(some) = turn(&world).await? {
        (ended, turns) = (ended + some, turns + 1);
    }
    assert_eq!((ended, turns), (250, 3));
    let left = "select count(*) as n from warehouse.stock where reserved > 0";
    assert_eq!(client.query_one(left, &[]).await?.get::<_, i64>("n"), 0);
    world.assert_sound().await
}

/// Stock `a` and `b` at location `s`, each with a reservation that is due.
async fn two_due() -> anyhow::Result<World> {
    let world = World::create().await?;
    for sku in ["a", "b"] {
        world.put(&format!("/api/v1/stock/{sku}/s"), r#"{"on_hand":5}"#).await;
        let wanted = crate::world::wanted(2, 60).replace("\"a\"", &format!("\"{sku}\""));
        assert_eq!(world.post(crate::world::RESERVATIONS, &wanted).await.status, 201);
    }
    world.pass(60.0).await?;
    Ok(world)
}

#[tokio::test]
async fn stock_that_another_one_writes_holds_up_no_end_of_other_stock() -> anyhow::Result<()> {
    let world = two_due().await?;
    let other = world.database.connect().await?;
    other.batch_execute("begin; select from warehouse.stock where sku = 'a' for update").await?;
    assert_eq!(turn(&world).await?, Turn::Expired(1));
    assert_eq!(turn(&world).await?, Turn::Expired(0), "the other one still writes");
    other.batch_execute("commit").await?;
    assert_eq!(turn(&world).await?, Turn::Expired(1));
    assert_eq!(turn(&world).await?, Turn::Idle(None));
    world.assert_sound().await
}

#[tokio::test]
async fn a_reservation_that_cannot_be_ended_keeps_no_other() -> anyhow::Result<()> {
    let world = two_due().await?;
    let client = world.database.connect().await?;
    let rule = "alter table warehouse.stock
        add constraint odd check (sku <> 'a' or reserved > 0) not valid";
    client.batch_execute(rule).await?;
    assert_eq!(turn(&world).await?, Turn::Expired(1));
    assert!(turn(&world).await.is_err(), "the rule is still there");
    client.batch_execute("alter table warehouse.stock drop constraint odd").await?;
    assert_eq!(turn(&world).await?, Turn::Expired(1));
    world.assert_sound().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_sees_a_new_reservation_and_wakes_at_its_end() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(5).await;
    let stop = CancellationToken::new();
    let worker = world.expiry().run(stop.clone());
    let trade = async {
        let path = world.reserve(2, 1).await.header("location").to_owned();
        assert_eq!(world.level().await, (5, 2, 3));
        testkit::eventually("the reservation ends by itself", || async {
            Ok(world.level().await == (5, 0, 5))
        })
        .await;
        let client = world.database.connect().await?;
        let late = "select extract(epoch from ended_at - expires_at)::float8 as late
            from warehouse.reservation";
        let late: f64 = client.query_one(late, &[]).await?.get("late");
        assert!((0.0..5.0).contains(&late), "{late} s late");
        assert_eq!(world.get(&path).await.json()["state"], "expired");
        stop.cancel();
        anyhow::Ok(())
    };
    let (worked, traded) = tokio::join!(worker, trade);
    worked.map_err(|error| anyhow::anyhow!(error))?;
    traded?;
    world.assert_sound().await
}

#[tokio::test]
async fn what_ended_is_told_for_a_day_and_adjustments_are_kept_for_thirty() -> anyhow::Result<()> {
    let world = World::create().await?;
    world.count(9).await;
    let [old, recent, open] = [
        world.reserve(1, 600).await.header("location").to_owned(),
        world.reserve(1, 600).await.header("location").to_owned(),
        world.reserve(1, 600).await.header("location").to_owned(),
    ];
    for ended in [&old, &recent] {
        assert_eq!(world.delete(ended).await.status, 204);
    }
    let adjustments = format!("{}/adjustments", crate::world::STOCK);
    for _ in 0..2 {
        world.post(&adjustments, r#"{"delta":-1}"#).await;
    }
    let client = world.database.connect().await?;
    let id = old.rsplit('/').next().unwrap_or_default();
    let age = "update warehouse.reservation set ended_at = now() - interval '25 hours'
        where id::text = $1";
    assert_eq!(client.execute(age, &[&id]).await?, 1);
    let age = "update warehouse.adjustment set made_at = now() - interval '31 days' where id = 1";
    assert_eq!(client.execute(age, &[]).await?, 1);

    let stop = CancellationToken::new();
    let forgetting = warehouse::prune(world.pool.clone(), stop.clone());
    let checks = async {
        testkit::eventually("the old ones are forgotten", || async {
            let left = "select count(*) as n from warehouse.adjustment";
            let left: i64 = client.query_one(left, &[]).await?.get("n");
            Ok(world.get(&old).await.status == 404 && left == 1)
        })
        .await;
        stop.cancel();
    };
    let (forgotten, ()) = tokio::join!(forgetting, checks);
    forgotten.map_err(|error| anyhow::anyhow!(error))?;
    assert_eq!(world.get(&recent).await.json()["state"], "released");
    assert_eq!(world.get(&open).await.json()["state"], "open");
    world.assert_sound().await
}
