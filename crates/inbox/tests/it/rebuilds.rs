//! Loading a copy anew: new, behind, diverged, damaged; while changes flow and across kills.

use contracts::Lane;
use inbox::{Config, OnDivergence};
use testkit::eventually;

use crate::origin::item;
use crate::world::World;

const REBUILD: &str = "select rebuild from inbox.topic";
const HISTORY: &str = "select history from inbox.topic";

async fn phase(world: &World) -> anyhow::Result<Option<String>> {
    world.text("select phase from inbox.topic").await
}

async fn converged(world: &World) -> anyhow::Result<()> {
    eventually("the copy equals its source", async || {
        let serves = phase(world).await?.as_deref() == Some("serving");
        Ok(serves && world.copied().await? == world.origin.living())
    })
    .await;
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_copy_is_loaded_from_the_snapshot_and_then_follows() -> anyhow::Result<()> {
    let mut world = World::new("new").await?;
    for number in 0..25 {
        world.origin.put(&format!("K{number:02}"), Some(&item("k", number % 10)));
    }
    world.origin.put("K07", None);
    let run =
        world.follow_with(Config { page_limit: 4, ..world.config() }, bus::Bus::memory(&world.hub));
    assert!(!run.config.monitor.ready());
    world.ready(&run).await;
    assert_eq!(world.copied().await?, world.origin.living());
    assert_eq!(world.number("select start from inbox.position").await?, 26);
    world.until(7, "select count(*) from inbox.versions where version = 1 and key < 'K07'").await;
    assert_eq!(world.number("select version from inbox.versions where deleted").await?, 2);
    world.origin.put("K01", Some(&item("changed", 1)));
    converged(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_goes_on_after_kills_while_changes_flow() -> anyhow::Result<()> {
    let mut world = World::new("resumed").await?;
    for number in 0..60 {
        world.origin.put(&format!("K{number:02}"), Some(&item("k", number % 10)));
    }
    let config = Config { page_limit: 5, ..world.config() };
    let mut cursors = Vec::new();
    for kill in 0..3 {
        let run = world.follow_with(
            Config { stop: Default::default(), monitor: Default::default(), ..config.clone() },
            bus::Bus::memory(&world.hub),
        );
        let before = world.text("select cursor from inbox.topic").await?;
        for number in 0..5 {
            world.origin.put(&format!("K{:02}", number * 11 + kill), Some(&item("live", 2)));
            world.origin.put(&format!("N{kill}{number}"), Some(&item("new", 3)));
        }
        world.origin.put(&format!("K{:02}", kill * 7 + 3), None);
        eventually("a page is in", async || {
            let cursor = world.text("select cursor from inbox.topic").await?;
            Ok(cursor.is_some() && cursor != before
                || phase(&world).await?.as_deref() == Some("serving"))
        })
        .await;
        run.kill();
        cursors.push(world.text("select cursor from inbox.topic").await?);
    }
    assert!(cursors.iter().flatten().count() >= 2, "killed half-way: {cursors:?}");
    let run = world.follow();
    world.ready(&run).await;
    assert_eq!(world.number(REBUILD).await?, 1, "it went on and did not begin again");
    converged(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_behind_the_floor_is_loaded_anew_and_keeps_its_history() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("floor").await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.at_head().await;
    run.stop().await;
    for key in ["B", "C", "D"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    world.origin.put("A", None);
    world.origin.truncate(4);
    let run = world.follow();
    world.ready(&run).await;
    converged(&world).await?;
    assert_eq!((world.number(REBUILD).await?, world.number(HISTORY).await?), (2, 1));
    assert_eq!(world.number("select count(*) from inbox.position_archive").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_another_past_stops_the_copy_until_a_rebuild_is_commanded()
-> anyhow::Result<()> {
    let (world, run) = World::serving("diverged").await?;
    for key in ["A", "B", "C"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    world.origin.put("A", Some(&item("newer", 2)));
    world.at_head().await;
    world.origin.restore(2);
    world.origin.put("D", Some(&item("d", 1)));
    world.origin.put("B", Some(&item("another past", 3)));
    eventually("the copy stands", async || Ok(phase(&world).await?.as_deref() == Some("diverged")))
        .await;
    assert!(!run.config.monitor.ready());
    world.origin.put("E", Some(&item("e", 1)));
    world.push(5, 5).await;
    assert_eq!(world.copied().await?.len(), 3, "nothing was applied");
    assert!(world.text("select complaint from inbox.topic").await?.is_some());

    world.pool.get().await?.execute("update inbox.topic set asked = 'asked'", &[]).await?;
    converged(&world).await?;
    assert_eq!((world.number(REBUILD).await?, world.number(HISTORY).await?), (2, 2));
    assert_eq!(
        world.text("select name from copy.items where key = 'A'").await?.as_deref(),
        Some("A")
    );
    let buried = "select count(*) from inbox.versions \
                  where key = 'C' and deleted and (history, version) = (2, 0)";
    assert_eq!(world.number(buried).await?, 1);
    world.origin.put("C", Some(&item("again", 1)));
    converged(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_policy_a_diverged_copy_rebuilds_at_once() -> anyhow::Result<()> {
    let mut world = World::new("policy").await?;
    let config = Config { on_divergence: OnDivergence::Rebuild, ..world.config() };
    let run = world.follow_with(config, bus::Bus::memory(&world.hub));
    world.ready(&run).await;
    for key in ["A", "B", "C"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    world.at_head().await;
    world.origin.restore(1);
    world.origin.put("B", Some(&item("another past", 3)));
    converged(&world).await?;
    assert_eq!(world.number(HISTORY).await?, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_repaired_although_its_versions_are_right() -> anyhow::Result<()> {
    let (world, _run) = World::serving("damaged").await?;
    for key in ["A", "B"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    world.at_head().await;
    let client = world.pool.get().await?;
    client
        .batch_execute(
            "update inbox.versions set version = 9 where key = 'A';
             update copy.items set name = 'wrong', version = 9 where key = 'A';
             update inbox.topic set asked = 'damaged'",
        )
        .await?;
    converged(&world).await?;
    assert_eq!(
        world.text("select name from copy.items where key = 'A'").await?.as_deref(),
        Some("A")
    );
    assert_eq!(world.number(HISTORY).await?, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_of_a_snapshot_becomes_a_case_outside_the_books() -> anyhow::Result<()> {
    let mut world = World::new("bad-row").await?;
    for (key, size) in [("A", 1), ("B", 13), ("C", -1), ("D", 1)] {
        world.origin.put(key, Some(&item(key, size)));
    }
    let run = world.follow();
    world.ready(&run).await;
    assert_eq!(world.copied().await?.len(), 2);
    let open = "select count(*) from inbox.cases where state = 'open' and pn is null";
    assert_eq!(world.number(open).await?, 2);
    world.balanced().await?;
    for key in ["B", "C"] {
        world.origin.put(key, Some(&item(key, 2)));
    }
    world.until(0, open).await;
    converged(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_closes_the_cases_of_the_one_before() -> anyhow::Result<()> {
    let (world, _run) = World::serving("older-cases").await?;
    world.origin.put("A", Some(&item("a", 13)));
    world.origin.put("B", Some(&item("b", 1)));
    world.until(1, "select open_cases from inbox.position").await;
    world.pool.get().await?.execute("update inbox.topic set asked = 'asked'", &[]).await?;
    world.until(2, REBUILD).await;
    eventually("it serves", async || Ok(phase(&world).await?.as_deref() == Some("serving"))).await;
    let open = "select count(*) from inbox.cases where state = 'open' and rebuild = 1";
    assert_eq!(world.number(open).await?, 0);
    let again = "select count(*) from inbox.cases where state = 'open' and rebuild = 2";
    assert_eq!(world.number(again).await?, 1, "the snapshot holds the same bad row");
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_another_lane_overtakes_is_closed_in_its_own_books() -> anyhow::Result<()> {
    let (world, _run) = World::serving("lanes").await?;
    world.origin.put("A", Some(&item("a", 13)));
    world
        .until(1, "select open_cases from inbox.position where stream = 'shop.items.normal'")
        .await;
    world.origin.put_in(Lane::Critical, "A", Some(&item("a", 1)));
    world
        .until(1, "select superseded from inbox.position where stream = 'shop.items.normal'")
        .await;
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_rebuild_writes_rows_again_whose_versions_are_right() -> anyhow::Result<()> {
    let (world, _run) = World::serving("rewritten").await?;
    for key in ["A", "B"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    world.at_head().await;
    let client = world.pool.get().await?;
    client.batch_execute("truncate copy.items; update inbox.topic set asked = 'asked'").await?;
    world.until(2, REBUILD).await;
    converged(&world).await?;
    assert_eq!(world.number(HISTORY).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_born_behind_the_pages_is_not_swept() -> anyhow::Result<()> {
    let mut world = World::new("born").await?;
    let config = Config { on_divergence: OnDivergence::Rebuild, page_limit: 1, ..world.config() };
    let run = world.follow_with(config, bus::Bus::memory(&world.hub));
    world.ready(&run).await;
    for key in ["A", "Z", "K", "L"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    world.at_head().await;
    world.origin.allow_pages(Some(2));
    world.origin.restore(2);
    world
        .until(1, "select count(*) from inbox.topic where phase = 'loading' and cursor = 'Z'")
        .await;
    world.origin.put("K", Some(&item("born again", 1)));
    world.until(1, "select count(*) from copy.items where name = 'born again'").await;
    world.origin.allow_pages(None);
    converged(&world).await?;
    assert_eq!(world.copied().await?.len(), 3, "K lives, and L of the other past is swept");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_waits_until_the_positions_include_all_that_it_includes() -> anyhow::Result<()> {
    let mut world = World::new("waiting").await?;
    let client = world.pool.get().await?;
    client
        .batch_execute(
            "set role none;
             create table copy.pages (pn bigint);
             grant all on copy.pages to syncline_service;
             create function copy.page() returns trigger language plpgsql as $$
             begin
                 insert into copy.pages select pn from inbox.position;
                 return null;
             end $$;
             create trigger page after update of cursor on inbox.topic
                 for each row when (old.phase = 'loading') execute function copy.page();
             reset role",
        )
        .await?;
    drop(client);
    world.origin.put("A", Some(&item("a", 1)));
    world.origin.allow_pages(Some(0));
    let run = world.follow();
    world.until(1, "select count(*) from inbox.topic where phase = 'loading'").await;
    world.origin.silence();
    world.origin.put("B", Some(&item("b", 1)));
    world.origin.allow_pages(Some(1));
    eventually("the page is read", async || Ok(world.origin.pages_left() == Some(0))).await;
    world.origin.next_sync().await;
    world.origin.speak();
    world.ready(&run).await;
    assert_eq!(world.number("select min(pn) from copy.pages").await?, 2, "B's number");
    converged(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_row_without_a_payload_deletes_nothing() -> anyhow::Result<()> {
    let (world, _run) = World::serving("payloadless").await?;
    for key in ["A", "B"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    world.at_head().await;
    world.origin.put("A", Some("null"));
    world.until(1, "select open_cases from inbox.position").await;
    world.pool.get().await?.execute("update inbox.topic set asked = 'asked'", &[]).await?;
    world.until(2, "select rebuild from inbox.topic where phase = 'serving'").await;
    assert_eq!(world.copied().await?, [("A".to_owned(), 1), ("B".to_owned(), 1)]);
    let open = "select rule from inbox.cases where state = 'open' and key = 'A' and version = 2";
    assert_eq!(world.text(open).await?.as_deref(), Some("snapshot"));
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_while_another_rebuild_begins_is_obeyed() -> anyhow::Result<()> {
    let (world, _run) = World::serving("commanded-meanwhile").await?;
    world.origin.silence();
    world.origin.hold();
    world.origin.put("A", Some(&item("a", 1)));
    let before = world.origin.syncs();
    eventually("a sync is held", async || Ok(world.origin.syncs() > before)).await;
    world.origin.truncate(1);
    world.pool.get().await?.execute("update inbox.topic set asked = 'damaged'", &[]).await?;
    world.origin.release();
    world.origin.speak();
    world.until(2, HISTORY).await;
    converged(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_the_source_no_longer_has_are_not_waited_for() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("promised").await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.at_head().await;
    run.stop().await;
    world.origin.silence();
    for key in ["B", "C", "D", "E"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    let run = world.follow();
    eventually("it knows the heads", async || {
        Ok(run.config.monitor.readiness().is_err_and(|why| why.contains("yet to reach")))
    })
    .await;
    world.origin.restore(3);
    world.origin.speak();
    world.ready(&run).await;
    converged(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diverged_copy_is_never_ready_even_while_it_cannot_be_stopped() -> anyhow::Result<()> {
    let (mut world, run) = World::serving("never-ready").await?;
    for key in ["A", "B", "C"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    world.at_head().await;
    run.stop().await;
    world.origin.restore(2);
    let mut client = world.pool.get().await?;
    let batch = client.transaction().await?;
    batch.execute("select from inbox.position for update", &[]).await?;
    let run = world.follow();
    world.origin.next_sync().await;
    assert!(!run.config.monitor.ready());
    batch.rollback().await?;
    eventually("the copy stands", async || Ok(phase(&world).await?.as_deref() == Some("diverged")))
        .await;
    assert!(!run.config.monitor.ready());
    Ok(())
}
