//! Records that cannot be applied: each is set aside alone, whole, and the stream goes on.

use crate::origin::item;
use crate::world::World;

const POSITION: &str = "select coalesce(max(pn), -1) from inbox.position";
const OPEN: &str = "select open_cases from inbox.position";

async fn kind(world: &World, key: &str) -> anyhow::Result<Option<String>> {
    world.text(&format!("select kind || ' ' || rule from inbox.cases where key = '{key}'")).await
}

/// Covers: V3, V5.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_alone_becomes_a_case() -> anyhow::Result<()> {
    let (world, _run) = World::serving("poison").await?;
    for (key, size) in [("A", 1), ("B", 13), ("C", 1), ("D", 14), ("E", -1)] {
        world.origin.put(key, Some(&item(key, size)));
    }
    world.origin.put("F", Some("{\"name\":\"no size\"}"));
    world.push(1, 6).await;
    world.until(6, POSITION).await;
    assert_eq!(world.copied().await?, [("A".to_owned(), 1), ("C".to_owned(), 1)]);
    assert_eq!(world.number(OPEN).await?, 4);
    assert_eq!(kind(&world, "B").await?.as_deref(), Some("failing apply"));
    assert_eq!(kind(&world, "D").await?.as_deref(), Some("failing apply"));
    assert_eq!(kind(&world, "E").await?.as_deref(), Some("invalid validate"));
    assert_eq!(kind(&world, "F").await?.as_deref(), Some("unreadable entity"));
    let payload = "select convert_from(payload, 'UTF8') from inbox.cases where key = 'B'";
    assert_eq!(world.text(payload).await?, Some(item("B", 13)));
    let reason = "select convert_from(reason, 'UTF8') from inbox.cases where key = 'D'";
    assert!(world.text(reason).await?.unwrap().contains("fourteen"));
    let marked = "select count(*) from inbox.dirty where sink = 'index'";
    assert_eq!(world.number(marked).await?, 6, "keys of cases are dirty too");
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_in_a_payload_spoils_its_own_record_only() -> anyhow::Result<()> {
    let (world, _run) = World::serving("nul").await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.origin.put("B", Some("{\"name\":\"a\\u0000b\",\"size\":1}"));
    world.push(1, 2).await;
    world.until(2, POSITION).await;
    assert_eq!(world.copied().await?, [("A".to_owned(), 1)]);
    assert_eq!(kind(&world, "B").await?.as_deref(), Some("failing apply"));
    world.balanced().await
}

/// Covers: V6.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_valid_version_closes_a_case() -> anyhow::Result<()> {
    let (world, _run) = World::serving("superseded").await?;
    world.origin.put("A", Some(&item("a", 13)));
    world.push(1, 1).await;
    world.until(1, OPEN).await;
    world.balanced().await?;
    world.origin.put("A", Some(&item("a", -5)));
    world.push(2, 2).await;
    world.until(2, OPEN).await;
    world.origin.put("A", Some(&item("a", 1)));
    world.push(3, 3).await;
    world.until(0, OPEN).await;
    assert_eq!(world.number("select superseded from inbox.position").await?, 2);
    let closed = "select count(*) from inbox.cases \
                  where state = 'superseded' and closed_at is not null";
    assert_eq!(world.number(closed).await?, 2);
    assert_eq!(world.copied().await?, [("A".to_owned(), 3)]);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_closes_a_case_too() -> anyhow::Result<()> {
    let (world, _run) = World::serving("deleted-case").await?;
    world.origin.put("A", Some(&item("a", 13)));
    world.push(1, 1).await;
    world.until(1, OPEN).await;
    world.origin.put("A", None);
    world.push(2, 2).await;
    world.until(0, OPEN).await;
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_valid_state_of_a_batch_is_applied_below_a_bad_one() -> anyhow::Result<()> {
    let (world, _run) = World::serving("fallback").await?;
    for size in [1, 2, -1] {
        world.origin.put("A", Some(&item("a", size)));
    }
    for size in [3, 4, 13] {
        world.origin.put("B", Some(&item("b", size)));
    }
    world.push(1, 6).await;
    world.until(6, POSITION).await;
    assert_eq!(world.copied().await?, [("A".to_owned(), 2), ("B".to_owned(), 2)]);
    assert_eq!(world.number(OPEN).await?, 2);
    assert_eq!(world.number("select stale from inbox.position").await?, 2);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_record_opens_no_case_however_bad_it_is() -> anyhow::Result<()> {
    let (world, _run) = World::serving("stale-bad").await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.origin.put("A", Some(&item("a", 2)));
    world.push(1, 2).await;
    world.until(2, POSITION).await;
    world.origin.put("A", Some(&item("a", 3)));
    world.origin.forge(3, 1, &item("a", -9));
    world.push(3, 3).await;
    world.until(3, POSITION).await;
    assert_eq!(world.number("select count(*) from inbox.cases").await?, 0);
    assert_eq!(world.number("select stale from inbox.position").await?, 2);
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_change_in_a_readable_envelope_is_a_case() -> anyhow::Result<()> {
    let (world, _run) = World::serving("unreadable-change").await?;
    world.origin.silence();
    for key in ["A", "B", "C"] {
        world.origin.put(key, Some(&item(key, 1)));
    }
    let good = String::from_utf8(world.origin.envelope(1, 3).to_vec())?;
    let (head, tail) = good.split_once("\"key\":\"B\"").unwrap();
    let bad = format!("{head}\"key\":\"B\"{}", tail.replacen("upsert", "erase", 1));
    assert_ne!(good, bad);
    world.publish(bad.into()).await;
    world.until(3, POSITION).await;
    assert_eq!(world.copied().await?, [("A".to_owned(), 1), ("C".to_owned(), 1)]);
    assert_eq!(kind(&world, "B").await?.as_deref(), Some("unreadable envelope"));
    world.origin.put("B", Some(&item("b", 2)));
    world.push(4, 4).await;
    world.until(0, OPEN).await;
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_of_a_stored_version_is_an_alarm_and_never_stale() -> anyhow::Result<()> {
    let (world, _run) = World::serving("contradiction").await?;
    world.origin.put("A", Some(&item("a", 1)));
    world.push(1, 1).await;
    world.until(1, POSITION).await;
    world.origin.put("A", Some(&item("a", 2)));
    world.origin.forge(2, 1, &item("forged", 2));
    world.push(2, 2).await;
    world.until(2, POSITION).await;
    assert_eq!(world.number("select contradictions from inbox.position").await?, 1);
    assert_eq!(world.number("select stale from inbox.position").await?, 0);
    let rule = kind(&world, "A").await?;
    assert_eq!(rule.as_deref(), Some("invalid one-content-per-version"));
    assert_eq!(world.text("select name from copy.items").await?.as_deref(), Some("a"));
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_unwell_is_no_reason_for_a_case() -> anyhow::Result<()> {
    let (world, _run) = World::serving("unwell").await?;
    let states = ["08006", "25P03", "40001", "40P01", "53100", "55P03", "57014", "57P01", "58030"];
    for (number, state) in (1..).zip(states) {
        world.projection.troubles.lock().unwrap().extend([state, state]);
        world.origin.put("A", Some(&item("a", number)));
        world.until(i64::from(number), POSITION).await;
        assert!(world.projection.troubles.lock().unwrap().is_empty());
        assert_eq!(world.number("select count(*) from inbox.cases").await?, 0, "{state}");
    }
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_a_database_says_is_said_of_the_record() -> anyhow::Result<()> {
    let (world, _run) = World::serving("blamed").await?;
    let states = ["21000", "22021", "23505", "25006", "2F002", "42P01", "54000", "P0001", "XX000"];
    for (number, state) in (1..).zip(states) {
        // Once for the batch, and once for the record alone.
        world.projection.troubles.lock().unwrap().extend([state, state]);
        world.origin.put("A", Some(&item("a", number)));
        world.until(i64::from(number), POSITION).await;
        assert_eq!(world.number(OPEN).await?, i64::from(number), "{state}");
    }
    world.balanced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_marked_dirty_spoils_its_own_record_only() -> anyhow::Result<()> {
    let (world, _run) = World::serving("unmarkable").await?;
    for (key, size) in [("A", 1), ("B", 12), ("C", 1)] {
        world.origin.put(key, Some(&item(key, size)));
    }
    world.push(1, 3).await;
    world.until(3, POSITION).await;
    assert_eq!(world.copied().await?, [("A".to_owned(), 1), ("C".to_owned(), 1)]);
    assert_eq!(kind(&world, "B").await?.as_deref(), Some("failing apply"));
    let marked = "select count(*) from inbox.dirty where key in ('A', 'B', 'C') and gen > 0";
    assert_eq!(world.number(marked).await?, 3, "the key of the case too");
    world.balanced().await
}
