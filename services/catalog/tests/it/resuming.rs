//! Uploads that break off, are sent again, or are sent twice at once.

use std::{convert::Infallible, io};

use axum::body::{Body, Bytes};
use futures::{StreamExt as _, channel::mpsc, stream};
use testkit::Database;

use crate::{
    imports::{NDJSON, PRODUCTS, line, refusals, totals},
    program::Running,
    world::{World, migrated},
};

const KEY: (&str, &str) = ("idempotency-key", "file-1");
const HEADERS: [(&str, &str); 2] = [NDJSON, KEY];

/// Lines 700 and 1400 are bad.
fn file(lines: usize) -> String {
    let bad = |number| number == 700 || number == 1400;
    let each = |number| if bad(number) { "{}\n".to_owned() } else { line(number) };
    (1..=lines).map(each).collect()
}

/// The file up to this byte, in pieces of odd sizes, and then a failure.
fn broken(file: &str, at: usize) -> Body {
    let bytes = Bytes::copy_from_slice(file.as_bytes().get(..at).expect("a place in the file"));
    let pieces: Vec<_> =
        bytes.chunks(1237).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let end = stream::once(async { Err(io::Error::other("gone")) });
    Body::from_stream(stream::iter(pieces).chain(end))
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_where_it_was_and_counts_nothing_twice()
-> anyhow::Result<()> {
    let world = World::create().await?;
    let file = file(2000);
    // In the middle of line 1235.
    let torn = file.lines().take(1234).map(|line| line.len() + 1).sum::<usize>() + 9;
    let answer = world.import(PRODUCTS, &HEADERS, broken(&file, torn)).await;
    assert_eq!(answer.problem(), (400, "body-broken-off".to_owned()));
    let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("up to line 1234 are done"), "{detail}");
    assert_eq!(world.stored().await?, [1233, 0, 1233, 1233, 0]);

    // Once more before the place that was reached, and then to the end.
    let answer = world.import(PRODUCTS, &HEADERS, broken(&file, torn / 2)).await;
    assert_eq!(answer.problem(), (400, "body-broken-off".to_owned()));
    assert_eq!(world.stored().await?[3], 1233);
    let changed = "update catalog.product set name = 'changed since' where sku = 'S1'";
    world.database.connect().await?.execute(changed, &[]).await?;
    for _ in 0..2 {
        let answer = world.import(PRODUCTS, &HEADERS, file.clone()).await;
        assert_eq!(totals(&answer), [2000, 1998, 0, 2, 0]);
        let lines: Vec<u64> = refusals(&answer).iter().map(|(line, ..)| *line).collect();
        assert_eq!(lines, [700, 1400]);
        assert_eq!(world.stored().await?, [1998, 0, 1998, 1998, 0]);
    }
    Ok(())
}

#[tokio::test]
async fn without_a_key_what_broke_off_is_sent_again_and_what_is_equal_stays() -> anyhow::Result<()>
{
    let world = World::create().await?;
    let file = file(1000);
    let answer = world.import(PRODUCTS, &[NDJSON], broken(&file, file.len() / 2)).await;
    assert_eq!(answer.status, 400);
    let stored = u64::try_from(world.stored().await?[0])?;
    assert!(stored > 400, "{stored}");
    let answer = world.import(PRODUCTS, &[NDJSON], file).await;
    assert_eq!(totals(&answer), [1000, 999 - stored, stored, 1, 0]);
    assert_eq!(world.stored().await?[3], 999);
    Ok(())
}

/// What follows the quote was read once already when its line was refused.
#[tokio::test]
async fn an_upload_with_an_open_quote_goes_on_where_it_was() -> anyhow::Result<()> {
    let world = World::create().await?;
    let line = |number: usize| match number {
        4 => "k4,\"K\n".to_owned(),
        1200 => "k1200,K\"\n".to_owned(),
        _ => format!("k{number},K\n"),
    };
    let lines: String = (2..=1500).map(line).collect();
    let file = format!("id,name\n{lines}k1501,\"K,K\"\nk1502,\"K\nk1503,K\nk1504,\"K,K,K\n");
    let headers = [("content-type", "text/csv"), KEY];
    let path = "/api/v1/categories/import";
    for torn in [20, file.len() / 2, file.len() - 9] {
        let answer = world.import(path, &headers, broken(&file, torn)).await;
        assert_eq!(answer.problem(), (400, "body-broken-off".to_owned()), "{torn}");
    }
    for _ in 0..2 {
        let answer = world.import(path, &headers, file.clone()).await;
        let refused: Vec<u64> = refusals(&answer).iter().map(|(line, ..)| *line).collect();
        let [lines, stored, ..] = totals(&answer);
        assert_eq!(lines, stored + refused.len() as u64);
        assert_eq!(world.get("/api/v1/categories/k1503").await.status, 200);
        assert_eq!(world.stored().await?[1], i64::try_from(stored)?);
        assert_eq!(refused, [4, 1502, 1504]);
        assert_eq!(lines, 1503);
    }
    Ok(())
}

#[tokio::test]
async fn an_upload_that_is_sent_again_lives_on() -> anyhow::Result<()> {
    let world = World::create().await?;
    assert_eq!(totals(&world.import(PRODUCTS, &HEADERS, file(10)).await)[0], 10);
    let client = world.database.connect().await?;
    let age = "update records.import set stored_at = now() - interval '23 hours'";
    assert_eq!(client.execute(age, &[]).await?, 1);
    assert_eq!(totals(&world.import(PRODUCTS, &HEADERS, file(10)).await)[0], 10);
    let young = "select stored_at > now() - interval '1 hour' as young from records.import";
    assert!(client.query_one(young, &[]).await?.get::<_, bool>("young"));
    Ok(())
}

#[tokio::test]
async fn without_the_row_of_its_upload_no_batch_is_stored() -> anyhow::Result<()> {
    let world = World::create().await?;
    let forget = "create function catalog.forget() returns trigger language plpgsql as
        $$ begin delete from records.import; return new; end $$;
        create trigger forget before insert on catalog.product
        for each row execute function catalog.forget()";
    world.database.connect().await?.batch_execute(forget).await?;
    let answer = world.import(PRODUCTS, &HEADERS, file(10)).await;
    assert_eq!(answer.problem().0, 503);
    let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("; at least all lines up to line 0 are done: "), "{detail}");
    assert_eq!(world.stored().await?, [0; 5]);
    Ok(())
}

#[tokio::test]
async fn a_key_of_another_file_is_refused() -> anyhow::Result<()> {
    let world = World::create().await?;
    let whole = file(600);
    let reused = (422, "idempotency-key-reused".to_owned());
    assert_eq!(world.import(PRODUCTS, &HEADERS, broken(&whole, 5000)).await.status, 400);
    let stored = world.stored().await?;
    let other = whole.replacen("Product 3", "Product x", 1);
    assert_eq!(world.import(PRODUCTS, &HEADERS, other.clone()).await.problem(), reused);
    let short = whole.get(..1000).unwrap_or_default().to_owned();
    assert_eq!(world.import(PRODUCTS, &HEADERS, short).await.problem(), reused);
    assert_eq!(world.stored().await?, stored);

    assert_eq!(totals(&world.import(PRODUCTS, &HEADERS, whole.clone()).await)[0], 600);
    for file in [format!("{whole}{}", line(601)), format!("{whole}\n"), other, String::new()] {
        assert_eq!(world.import(PRODUCTS, &HEADERS, file).await.problem(), reused);
    }
    let csv = [("content-type", "text/csv"), KEY];
    assert_eq!(world.import(PRODUCTS, &csv, whole.clone()).await.problem(), reused);
    let elsewhere = world.import("/api/v1/categories/import", &HEADERS, whole).await;
    assert_eq!(elsewhere.problem(), reused);
    Ok(())
}

#[tokio::test]
async fn while_an_upload_runs_another_with_its_key_is_told_to_wait() -> anyhow::Result<()> {
    let world = World::create().await?;
    let (sender, pieces) = mpsc::unbounded::<Result<Bytes, Infallible>>();
    let first = world.import(PRODUCTS, &HEADERS, Body::from_stream(pieces));
    let others = async {
        sender.unbounded_send(Ok(Bytes::from(line(1))))?;
        testkit::eventually("the first has the key", || async {
            let held = "select from pg_locks where locktype = 'advisory' and granted
                and database = (select oid from pg_database where datname = current_database())";
            Ok(!world.database.connect().await?.query(held, &[]).await?.is_empty())
        })
        .await;
        let second = world.import(PRODUCTS, &HEADERS, line(1)).await;
        assert_eq!(second.problem(), (409, "still-running".to_owned()));
        let keyless = world.import(PRODUCTS, &[NDJSON], line(2)).await;
        assert_eq!(totals(&keyless), [1, 1, 0, 0, 0]);
        sender.close_channel();
        anyhow::Ok(())
    };
    let (first, others) = tokio::join!(first, others);
    others?;
    assert_eq!(totals(&first), [1, 1, 0, 0, 0]);
    // The key is free again, and the answer is the same.
    testkit::eventually("the key is free", || async {
        let again = world.import(PRODUCTS, &HEADERS, line(1)).await;
        Ok(again.status == 200 && totals(&again) == [1, 1, 0, 0, 0])
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn an_upload_whose_caller_vanished_leaves_its_key_free() -> anyhow::Result<()> {
    let world = World::create().await?;
    let pieces =
        stream::iter([Ok::<_, Infallible>(Bytes::from(file(1200)))]).chain(stream::pending());
    let vanishing = world.import(PRODUCTS, &HEADERS, Body::from_stream(pieces));
    let stored =
        testkit::eventually("a batch is stored", || async { Ok(world.stored().await?[0] >= 999) });
    tokio::select! {
        answer = vanishing => anyhow::bail!("answered {answer:?}"),
        () = stored => {}
    }
    testkit::eventually("the key is free", || async {
        let answer = world.import(PRODUCTS, &HEADERS, file(1200)).await;
        Ok(answer.status == 200 && totals(&answer) == [1200, 1199, 0, 1, 0])
    })
    .await;
    assert_eq!(world.stored().await?[3], 1199);
    Ok(())
}

async fn products(database: &Database) -> anyhow::Result<i64> {
    let count = "select count(*) as n from catalog.product";
    Ok(database.connect().await?.query_one(count, &[]).await?.try_get("n")?)
}

async fn upload(catalog: &Running, body: reqwest::Body) -> reqwest::Result<reqwest::Response> {
    let request = reqwest::Client::new().post(catalog.url(PRODUCTS)).body(body);
    request.header(NDJSON.0, NDJSON.1).header(KEY.0, KEY.1).send().await
}

/// Over real connections: one breaks in the middle of a line, and during another the process dies.
#[tokio::test]
async fn a_broken_connection_and_a_killed_process_are_gone_on_from() -> anyhow::Result<()> {
    let database = migrated().await?;
    let catalog = Running::start(&database).await?;
    let whole = file(4000);
    let piece = |bytes| Ok(whole.get(..bytes).unwrap_or_default().to_owned());

    let (sender, pieces) = mpsc::unbounded();
    sender.unbounded_send(piece(whole.len() / 2))?;
    let breaking = async {
        testkit::eventually("a batch is stored", || async {
            Ok(products(&database).await? >= 999)
        })
        .await;
        sender.unbounded_send(Err(io::Error::other("gone")))
    };
    let (answer, broken) =
        tokio::join!(upload(&catalog, reqwest::Body::wrap_stream(pieces)), breaking);
    broken?;
    assert!(answer.is_err(), "the connection did not break: {answer:?}");

    let died = async {
        loop {
            let (sender, pieces) = mpsc::unbounded::<io::Result<String>>();
            sender.unbounded_send(piece(whole.len() - 9))?;
            let answer = tokio::select! {
                answer = upload(&catalog, reqwest::Body::wrap_stream(pieces)) => answer?,
                () = testkit::eventually("it has gone on", || async {
                    Ok(products(&database).await? >= 2900)
                }) => return anyhow::Ok(sender),
            };
            assert_eq!(answer.status(), 409, "only a key that is still held keeps it out");
        }
    };
    let sender = died.await?;
    drop(catalog);
    assert!(products(&database).await? < 3998);
    drop(sender);

    let catalog = Running::start(&database).await?;
    testkit::eventually("the rest is stored", || async {
        let answer = upload(&catalog, whole.clone().into()).await?;
        let body: serde_json::Value = answer.json().await?;
        Ok(body["stored"] == 3998 && body["refused"] == 2 && body["unchanged"] == 0)
    })
    .await;
    let changes = "select count(*) as n from outbox.change";
    let count: i64 = database.connect().await?.query_one(changes, &[]).await?.get("n");
    assert_eq!(count, 3998);
    Ok(())
}

#[tokio::test]
async fn a_key_of_an_upload_is_forgotten_after_a_day() -> anyhow::Result<()> {
    let world = World::create().await?;
    assert_eq!(totals(&world.import(PRODUCTS, &HEADERS, line(1)).await)[1], 1);
    let age = "update records.import set stored_at = now() - interval '25 hours'";
    world.database.connect().await?.execute(age, &[]).await?;
    assert_eq!(totals(&world.import(PRODUCTS, &HEADERS, line(2)).await), [1, 1, 0, 0, 0]);
    Ok(())
}

#[tokio::test]
async fn a_database_that_goes_away_leaves_whole_batches_and_says_where_to_go_on()
-> anyhow::Result<()> {
    let world = World::create().await?;
    let (sender, pieces) = mpsc::unbounded::<Result<Bytes, Infallible>>();
    let first = world.import(PRODUCTS, &HEADERS, Body::from_stream(pieces));
    let whole = file(2400);
    let half = whole.len() / 2;
    let (one, two) =
        (Bytes::copy_from_slice(&whole.as_bytes()[..half]), whole.clone().split_off(half));
    let others = async {
        sender.unbounded_send(Ok(one))?;
        testkit::eventually("a batch is stored", || async { Ok(world.stored().await?[0] >= 999) })
            .await;
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        world.database.connect().await?.execute(cut, &[]).await?;
        sender.unbounded_send(Ok(Bytes::from(two)))?;
        sender.close_channel();
        anyhow::Ok(())
    };
    let (first, others) = tokio::join!(first, others);
    others?;
    assert_eq!(first.problem(), (503, "unavailable".to_owned()));
    let detail = first.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("up to line 1000 are done"), "{detail}");
    testkit::eventually("the file goes on", || async {
        let answer = world.import(PRODUCTS, &HEADERS, whole.clone()).await;
        Ok(answer.status == 200 && totals(&answer) == [2400, 2398, 0, 2, 0])
    })
    .await;
    assert_eq!(world.stored().await?[3], 2398);
    Ok(())
}
