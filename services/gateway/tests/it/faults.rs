//! What a view says while parts of the system are away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;
use testkit::{eventually, within};

use crate::mall::{Gateway, Mall, Mood, is_stale, status};

fn age_ms(view: &crate::Answer) -> u64 {
    view.json()["freshness"]["age_ms"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_sync_stands_still_the_owners_are_asked_and_without_them_the_age_grows()
-> anyhow::Result<()> {
    let mall = Mall::open().await?;
    mall.pricing.relay.set(Mood::Away);
    eventually("the cache alone does not do, and the owners answer", async || {
        let view = mall.view("A").await;
        Ok(status(&view).starts_with("syncline; fwd=stale") && !is_stale(&view))
    })
    .await;
    for shop in [&mall.catalog, &mall.pricing, &mall.warehouse] {
        shop.owner.set(Mood::Away);
    }
    eventually("the view is flagged", async || Ok(is_stale(&mall.view("A").await))).await;
    let before = mall.view("A").await;
    let reason = before.json()["freshness"]["reason"].as_str().unwrap().to_owned();
    for owner in ["catalog", "pricing", "warehouse"] {
        assert!(reason.contains(&format!("{owner} cannot be reached")), "{reason}");
    }
    assert!(age_ms(&before) > 1_000, "{}", before.json());
    assert_eq!(before.json()["price"]["amount"], "5.00");
    eventually("the age grows", async || {
        let view = mall.view("A").await;
        let seconds = age_ms(&view) / 1_000;
        assert_eq!(view.headers["age"], *seconds.to_string());
        Ok(is_stale(&view) && age_ms(&view) > age_ms(&before) + 1_000)
    })
    .await;
    // Without the flag it may not even be confirmed.
    let request = axum::extract::Request::get("/api/v1/views/products/A");
    let held = request.header("if-none-match", before.headers["etag"].clone());
    assert_eq!(mall.ask(held.body(axum::body::Body::empty())?).await.status, StatusCode::OK);
    mall.pricing.relay.set(Mood::Answers);
    mall.fresh_hit("A").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_part_of_an_owner_that_is_away_is_flagged_and_without_a_copy_refused()
-> anyhow::Result<()> {
    let mall = Mall::open().await?;
    mall.put("B", "7.00", 1).await?;
    for (mood, expected) in [(Mood::Away, 2), (Mood::Hangs, 3)] {
        mall.pricing.owner.set(mood);
        let fresh = mall.view("A").await;
        assert!(!is_stale(&fresh), "the cache vouches for it: {}", fresh.json());

        // The change is heard of and ends what was kept; its owner does not tell the new state.
        let old = fresh.json()["price"]["amount"].as_str().unwrap().to_owned();
        let new = if old == "5.00" { "6.00" } else { "5.00" };
        mall.price("A", new).await?;
        mall.settled("A", expected).await;
        let start = Instant::now();
        let view = mall.view("A").await;
        assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
        let body = view.json();
        assert_eq!(body["price"]["amount"], *old);
        let parts = &body["freshness"]["parts"];
        let reason = parts["price"]["reason"].as_str().unwrap();
        assert!(reason.starts_with("pricing "), "{reason}");
        assert_eq!(body["freshness"]["reason"], *reason);
        assert_eq!(parts["product"]["reason"], json!(null));

        let (status, code, detail) = mall.view("B").await.problem();
        assert_eq!((status, code.as_str()), (503, "part-away"));
        assert!(detail.starts_with("the price of B is not known here, and pricing"), "{detail}");

        mall.pricing.owner.set(Mood::Answers);
        within(Duration::from_secs(1), "the new price shows", async || {
            Ok(mall.view("A").await.json()["price"]["amount"] == *new)
        })
        .await;
        mall.fresh_hit("A").await;
    }
    assert_eq!(mall.view("B").await.status, StatusCode::OK);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_cache_views_are_read_from_the_owners_and_nobody_waits() -> anyhow::Result<()> {
    let mut mall = Mall::open().await?;
    mall.redis.kill()?;
    mall.price("A", "6.00").await?;
    let start = Instant::now();
    let view = mall.view("A").await;
    assert!(start.elapsed() < Duration::from_millis(1_000), "{:?}", start.elapsed());
    assert_eq!(status(&view), "syncline; fwd=bypass; detail=cache-away");
    assert!(!is_stale(&view), "{}", view.json());
    assert_eq!(view.json()["price"]["amount"], "6.00");
    assert!(mall.gateway.monitor.ready(), "the cache is no condition");
    mall.pricing.owner.set(Mood::Away);
    assert_eq!(mall.view("A").await.problem().0, 503);
    mall.pricing.owner.set(Mood::Answers);

    mall.redis.restart().await?;
    let hit = mall.fresh_hit("A").await;
    assert_eq!(hit.json()["price"]["amount"], "6.00");

    mall.redis.pause()?;
    let start = Instant::now();
    let view = mall.view("A").await;
    assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
    assert!(!is_stale(&view) && status(&view).contains("bypass"), "{}", view.json());
    mall.price("A", "7.00").await?;
    mall.redis.resume()?;
    eventually("the new price is a fresh hit", async || {
        Ok(mall.fresh_hit("A").await.json()["price"]["amount"] == "7.00")
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_term_of_a_source_leaves_all_that_was_kept_behind() -> anyhow::Result<()> {
    let mut mall = Mall::open().await?;
    mall.put("B", "7.00", 1).await?;
    mall.fresh_hit("B").await;
    let before = mall.namespace().await?;
    mall.price("A", "6.00").await?;
    eventually("the price shows", async || {
        Ok(mall.fresh_hit("A").await.json()["price"]["amount"] == "6.00")
    })
    .await;
    assert_eq!(mall.namespace().await?, before, "a change alone is no other past");

    mall.hand_over()?;
    mall.price("A", "8.00").await?;
    eventually("the namespace is another one", async || Ok(mall.namespace().await? != before))
        .await;
    eventually("what the other term wrote shows", async || {
        Ok(mall.fresh_hit("A").await.json()["price"]["amount"] == "8.00")
    })
    .await;
    // Nobody touched B, and yet it had to be read again.
    let asked = mall.pricing.owner.asked();
    mall.fresh_hit("B").await;
    assert!(mall.pricing.owner.asked() > asked);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_leaves_all_that_was_kept_behind() -> anyhow::Result<()> {
    let mall = Mall::open().await?;
    let before = mall.namespace().await?;
    let ask = "update inbox.topic set asked = 'damaged' where topic = 'pricing.prices'";
    mall.database.connect().await?.batch_execute(ask).await?;
    eventually("the namespace is another one", async || Ok(mall.namespace().await? != before))
        .await;
    mall.fresh_hit("A").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_answer_alike_whoever_cleans_and_whoever_ends() -> anyhow::Result<()> {
    let mut mall = Mall::open().await?;
    let other = mall.another().await?;
    let price = async |gateway: &Gateway| {
        gateway.fresh_hit("A").await.json()["price"]["amount"].as_str().unwrap().to_owned()
    };
    let both_show = async |mall: &Mall, amount: &str| {
        eventually(&format!("both show {amount}"), async || {
            Ok(price(&mall.gateway).await == amount && price(&other).await == amount)
        })
        .await;
    };
    both_show(&mall, "5.00").await;
    mall.price("A", "6.00").await?;
    both_show(&mall, "6.00").await;
    mall.hand_over()?;
    mall.price("A", "7.00").await?;
    both_show(&mall, "7.00").await;
    mall.gateway.stop();
    mall.price("A", "8.00").await?;
    within(Duration::from_secs(5), "the one that is left shows the change", async || {
        Ok(price(&other).await == "8.00")
    })
    .await;
    // The one that has ended no longer hears anything, and knows it.
    eventually("it reads from the owners", async || {
        Ok(!status(&mall.view("A").await).contains("hit"))
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_of_the_cache_that_steps_back_makes_nothing_fresh() -> anyhow::Result<()> {
    let mall = Mall::open().await?;
    let mut redis =
        redis::Client::open(mall.redis.url())?.get_multiplexed_async_connection().await?;
    // What was read an hour from now, by this clock, is what a step back of an hour leaves behind.
    let step = redis::Script::new(
        "local stepped = 0
         for _, key in ipairs(redis.call('KEYS', '*')) do
             if redis.call('HEXISTS', key, 'read') == 1 then
                 redis.call('HINCRBY', key, 'read', 3600000)
                 stepped = stepped + 1
             end
         end
         return stepped",
    );
    mall.pricing.silence();
    let stepped: i64 = step.invoke_async(&mut redis).await?;
    assert!(stepped > 0);
    mall.price("A", "6.00").await?;
    let written = Instant::now();
    eventually("the new price shows", async || {
        let asked = written.elapsed();
        let view = mall.view("A").await;
        let is_new = view.json()["price"]["amount"] == "6.00";
        let is_allowed = is_new || is_stale(&view) || asked <= Duration::from_secs(1);
        assert!(is_allowed, "{asked:?}: {}", view.json());
        Ok(is_new)
    })
    .await;
    Ok(())
}

/// One price that is written again and again, and whoever looks at it.
struct Watched {
    began: Instant,
    /// When each amount was there for everybody, in microseconds; 0 before.
    written: Vec<AtomicU64>,
    is_over: AtomicBool,
}

impl Watched {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }

    async fn write(&self, mall: &Mall) -> anyhow::Result<()> {
        for (amount, written) in self.written.iter().enumerate() {
            mall.price("A", &format!("{amount}.00")).await?;
            written.store(self.now(), Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(40 + 700 * u64::from(amount % 5 == 4))).await;
        }
        self.is_over.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Looks until it is over; how many views were fresh hits, and how many were no hits.
    async fn look(&self, gateway: &Gateway) -> (usize, usize) {
        let (mut hits, mut others) = (0, 0);
        while !self.is_over.load(Ordering::SeqCst) {
            let bound = self.now().saturating_sub(1_000_000);
            let view = gateway.view("A").await;
            if view.status != StatusCode::OK || is_stale(&view) {
                others += 1;
                continue;
            }
            let body = view.json();
            let shown = body["price"]["amount"].as_str().unwrap().trim_end_matches(".00");
            let shown: usize = shown.parse().unwrap();
            let newer = self.written.iter().skip(shown + 1);
            let is_old = newer.map(|at| at.load(Ordering::SeqCst)).any(|at| at > 0 && at < bound);
            assert!(!is_old, "{} at {bound}: {body}", status(&view));
            if status(&view).contains("hit") { hits += 1 } else { others += 1 }
        }
        (hits, others)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_one_of_which_is_cut_off_none_calls_an_old_price_fresh()
-> anyhow::Result<()> {
    let mut mall = Mall::open().await?;
    let (other, door) = mall.another_apart().await?;
    let watched = Watched {
        began: Instant::now(),
        written: (0..60).map(|_| AtomicU64::new(0)).collect(),
        is_over: AtomicBool::new(false),
    };
    let faults = async {
        let second = Duration::from_millis(1_500);
        tokio::time::sleep(second).await;
        door.set(Mood::Hangs);
        tokio::time::sleep(second).await;
        mall.pricing.owner.set(Mood::Hangs);
        tokio::time::sleep(second).await;
        mall.pricing.owner.set(Mood::Answers);
        mall.redis.pause()?;
        tokio::time::sleep(second).await;
        mall.redis.resume()?;
        tokio::time::sleep(second).await;
        door.set(Mood::Answers);
        anyhow::Ok(())
    };
    let (written, there, here, again, end) = tokio::join!(
        watched.write(&mall),
        watched.look(&other),
        watched.look(&mall.gateway),
        watched.look(&other),
        faults,
    );
    written?;
    end?;
    println!("hits and others: {here:?} here, {there:?} and {again:?} there");
    assert!(here.0 > 0 && here.1 > 0 && there.0 > 0 && there.1 > 0);
    let last = format!("{}.00", watched.written.len() - 1);
    for gateway in [&mall.gateway, &other] {
        eventually("the last price is a fresh hit", async || {
            Ok(gateway.fresh_hit("A").await.json()["price"]["amount"] == *last)
        })
        .await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_from_before_another_relay_is_shown_and_flagged() -> anyhow::Result<()> {
    let mut mall = Mall::open().await?;
    let before = mall.namespace().await?;
    // Nobody looks at A meanwhile, and no number tells of the other relay.
    mall.hand_over()?;
    mall.pricing.owner.set(Mood::Hangs);
    eventually("the namespace is another one", async || Ok(mall.namespace().await? != before))
        .await;
    // For a moment the one before may still be known, and clean.
    eventually("the copy is flagged", async || {
        let start = Instant::now();
        let view = mall.view("A").await;
        assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
        assert_eq!(view.status, StatusCode::OK, "{}", view.json());
        assert_eq!(view.json()["price"]["amount"], "5.00");
        Ok(is_stale(&view))
    })
    .await;
    mall.pricing.owner.set(Mood::Answers);
    assert_eq!(status(&mall.view("A").await), "syncline; fwd=stale; stored");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_be_unknown_while_an_owner_is_not_heard() -> anyhow::Result<()> {
    let mall = Mall::open().await?;
    mall.catalog.put("lone", &json!({"sku": "lone", "name": "lone"})).await?;
    mall.fresh_hit("lone").await;
    mall.pricing.owner.set(Mood::Away);
    mall.catalog.delete("lone").await?;
    eventually("it is not said to be known", async || {
        let view = mall.view("lone").await;
        assert_ne!(view.status, StatusCode::NOT_FOUND);
        Ok(view.status == StatusCode::SERVICE_UNAVAILABLE)
    })
    .await;
    mall.pricing.owner.set(Mood::Answers);
    assert_eq!(mall.view("lone").await.status, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_understands_is_replaced() -> anyhow::Result<()> {
    let mall = Mall::open().await?;
    let mut redis =
        redis::Client::open(mall.redis.url())?.get_multiplexed_async_connection().await?;
    let spoil = redis::Script::new(
        "for _, key in ipairs(redis.call('KEYS', '*')) do
             if redis.call('HEXISTS', key, 'value') == 1 then
                 redis.call('HSET', key, 'value', 'spoilt')
             end
         end",
    );
    let _: () = spoil.invoke_async(&mut redis).await?;
    let view = mall.view("A").await;
    assert_eq!(status(&view), "syncline; fwd=miss; stored");
    mall.fresh_hit("A").await;
    Ok(())
}
