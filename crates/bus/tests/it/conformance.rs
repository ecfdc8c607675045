//! What every transport promises, as one suite that runs over all of them.
//!
//! Each test names the transports that make its promise:
//!
//! - [`ALL`]: bytes, order in the steady state, retries, and that each consumer gets everything.
//! - [`WITH_BROKER`]: besides, what a broker between the processes makes possible. Transport memory
//!   delivers while it publishes, to whoever is there at that moment: so nothing waits there for a
//!   consumer that is away, replicas do not share, and a handler that hangs holds its publisher.
//! - Transport none promises nothing of this: it takes everything and carries nothing.
//!
//! A change's trace is among the bytes, and nowhere else: `redis` shows that a sidecar and the
//! transport without one write the same beside them, with no trace in it.
//!
//! No transport promises that what is published arrives, nor that it arrives once; that is
//! the feed's business. What these tests ask of them after a failure is that they go on.

pub(crate) mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Delivery, Handler, Transport, Verdict};
use contracts::{Lane, Stream};
use futures::future::{BoxFuture, FutureExt as _, pending};
use testkit::eventually;
use tokio_util::sync::CancellationToken;

use self::world::{World, categories, soon};
use crate::{Recorder, products};

const ALL: [Transport; 3] = [Transport::Memory, Transport::Redis, Transport::Dapr];
const WITH_BROKER: [Transport; 2] = [Transport::Redis, Transport::Dapr];
const CONSUMER: &str = "search-indexer";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// An event whose numbers do not survive a detour through floating point.
pub(crate) fn event(subject: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{subject}","source":"catalog","#)
        + r#""type":"syncline.test","datacontenttype":"application/json","#
        + &format!(r#""traceid":"{TRACE}","traceparent":"{TRACE}","tracestate":"a=1,b=2","#)
        + r#""data":{"z":12345678901234567890,"price":"10.10","rate":10.10,"tiny":1e-400,"#
        + r#""big":"12345678901234567890",  "a":"\u0041 é 価格 \ud83d\ude00","a":"twice"}}"#
}

fn events(count: usize) -> Vec<String> {
    (0..count).map(|n| event(&n.to_string())).collect()
}

async fn arrived(recorder: &Recorder, count: usize) {
    eventually("all have arrived", || async { Ok(recorder.bodies().len() >= count) }).await;
}

/// Waits for all of them, whatever comes twice or besides.
async fn all_arrived(recorder: &Recorder, sent: &[String]) {
    eventually("all have arrived", || async {
        let bodies: BTreeSet<_> = recorder.bodies().into_iter().collect();
        Ok(sent.iter().all(|event| bodies.contains(event)))
    })
    .await;
}

/// Takes what comes in other streams, and never answers what comes in this one.
pub(crate) struct Stuck {
    pub(crate) stream: Stream,
    pub(crate) others: Arc<Recorder>,
}

impl Handler for Stuck {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Verdict> {
        if delivery.stream == self.stream {
            return pending().boxed();
        }
        self.others.deliver(delivery)
    }
}

#[tokio::test]
async fn bytes_arrive_unchanged_with_the_trace_in_them() -> anyhow::Result<()> {
    for transport in ALL {
        let recorder = Recorder::content();
        let mut world = World::start(transport).await?;
        let _consumer = world.consumer(CONSUMER, recorder.handler()).await?;
        let large = event(&"ä".repeat(32 * 1024));
        assert!(large.len() > 64 * 1024);
        let sent = [event("small"), large, event("a/b c\\\"d\\n")];
        for event in &sent {
            world.publish(Lane::Normal, event).await?;
        }
        arrived(&recorder, sent.len()).await;
        assert_eq!(recorder.bodies(), sent, "{transport}");
    }
    Ok(())
}

#[tokio::test]
async fn the_steady_state_is_in_order() -> anyhow::Result<()> {
    for transport in ALL {
        let recorder = Recorder::content();
        let mut world = World::start(transport).await?;
        let _consumer = world.consumer(CONSUMER, recorder.handler()).await?;
        let sent = events(300);
        for event in &sent {
            world.publish(Lane::Normal, event).await?;
        }
        arrived(&recorder, sent.len()).await;
        assert_eq!(recorder.bodies(), sent, "{transport}");
    }
    Ok(())
}

#[tokio::test]
async fn every_topic_arrives_in_every_lane() -> anyhow::Result<()> {
    for transport in ALL {
        let recorder = Recorder::content();
        let mut world = World::start(transport).await?;
        let _consumer = world.consumer(CONSUMER, recorder.handler()).await?;
        let mut sent = Vec::new();
        for topic in [products(), categories()] {
            for lane in Lane::ALL {
                let stream = Stream::new(&topic, lane);
                sent.push(event(stream.as_str()));
                world.publish_to(&stream, lane, sent.last().expect("just pushed")).await?;
            }
        }
        arrived(&recorder, sent.len()).await;
        let mut bodies = recorder.bodies();
        bodies.sort();
        sent.sort();
        assert_eq!(bodies, sent, "{transport}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_delivery_is_tried_five_times_before_the_next() -> anyhow::Result<()> {
    for transport in ALL {
        let recorder = Recorder::new(|body, times| {
            assert!(!body.contains("bomb"), "the handler fails");
            let refused = body.contains("never") || body.contains("heals") && times < 5;
            if refused { Verdict::Retry } else { Verdict::Done }
        });
        let mut world = World::start(transport).await?;
        let _consumer = world.consumer(CONSUMER, recorder.handler()).await?;
        let [heals, never, bomb, next] = ["heals", "never", "bomb", "next"].map(event);
        for event in [&heals, &never, &bomb, &next] {
            world.publish(Lane::Normal, event).await?;
        }
        arrived(&recorder, 16).await;
        let tries = [vec![heals; 5], vec![never; 5], vec![bomb; 5], vec![next]].concat();
        assert_eq!(recorder.bodies(), tries, "{transport}");
    }
    Ok(())
}

#[tokio::test]
async fn each_consumer_gets_everything() -> anyhow::Result<()> {
    for transport in ALL {
        let (one, other) = (Recorder::content(), Recorder::content());
        let mut world = World::start(transport).await?;
        let _one = world.consumer(CONSUMER, one.handler()).await?;
        let _other = world.consumer("gateway", other.handler()).await?;
        let sent = events(50);
        for event in &sent {
            world.publish(Lane::Normal, event).await?;
        }
        arrived(&one, sent.len()).await;
        arrived(&other, sent.len()).await;
        assert_eq!((one.bodies(), other.bodies()), (sent.clone(), sent), "{transport}");
    }
    Ok(())
}

#[tokio::test]
async fn replicas_of_one_consumer_share_the_work() -> anyhow::Result<()> {
    for transport in WITH_BROKER {
        let recorders = [Recorder::content(), Recorder::content()];
        let mut world = World::start(transport).await?;
        let _one = world.consumer(CONSUMER, recorders[0].handler()).await?;
        let _two = world.consumer(CONSUMER, recorders[1].handler()).await?;
        let mut sent = events(200);
        for event in &sent {
            world.publish(Lane::Normal, event).await?;
        }
        let bodies = || recorders.iter().flat_map(|one| one.bodies()).collect::<Vec<_>>();
        eventually("all have arrived", || async { Ok(bodies().len() >= sent.len()) }).await;
        let mut taken = bodies();
        taken.sort();
        sent.sort();
        assert_eq!(taken, sent, "{transport}: each once");
        let shares = recorders.each_ref().map(|one| one.bodies().len());
        assert!(shares.iter().all(|share| *share > 0), "{transport}: {shares:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_handler_that_hangs_holds_up_no_other_lane() -> anyhow::Result<()> {
    for transport in WITH_BROKER {
        let others = Recorder::content();
        let stream = Stream::new(&products(), Lane::Normal);
        let stuck = Arc::new(Stuck { stream, others: Arc::clone(&others) });
        let mut world = World::start(transport).await?;
        let _consumer = world.consumer(CONSUMER, stuck).await?;
        for (n, lane) in [Lane::Normal, Lane::Critical, Lane::Bulk, Lane::Critical, Lane::Bulk]
            .into_iter()
            .enumerate()
        {
            world.publish(lane, &event(&n.to_string())).await?;
        }
        arrived(&others, 4).await;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_published_while_a_consumer_was_away_waits_for_it() -> anyhow::Result<()> {
    for transport in WITH_BROKER {
        let (before, after) = (Recorder::content(), Recorder::content());
        let mut world = World::start(transport).await?;
        let consumer = world.consumer(CONSUMER, before.handler()).await?;
        let (seen, missed) = (event("seen"), events(100));
        world.publish(Lane::Normal, &seen).await?;
        arrived(&before, 1).await;
        consumer.stop().await?;
        for event in &missed {
            world.publish(Lane::Normal, event).await?;
        }
        let _again = world.consumer(CONSUMER, after.handler()).await?;
        arrived(&after, missed.len()).await;
        assert_eq!((before.bodies(), after.bodies()), (vec![seen], missed), "{transport}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_dead_process_had_in_its_hands_is_delivered_to_the_next() -> anyhow::Result<()> {
    for transport in WITH_BROKER {
        let recorder = Recorder::content();
        let stream = Stream::new(&products(), Lane::Normal);
        let stuck = Arc::new(Stuck { stream: stream.clone(), others: Arc::clone(&recorder) });
        let mut world = World::start(transport).await?;
        let doomed = world.consumer(CONSUMER, stuck).await?;
        let sent = event("in hand");
        world.publish(Lane::Normal, &sent).await?;
        let asked = ["XPENDING", stream.as_str(), CONSUMER, "-", "+", "9"];
        eventually("it is in hand", || async {
            let redis::Value::Array(pending) = world.tell_broker(&asked).await? else {
                return Ok(false);
            };
            Ok(pending.len() == 1)
        })
        .await;
        drop(doomed);
        // A minute passes.
        let redis::Value::Array(pending) = world.tell_broker(&asked).await? else { panic!() };
        let redis::Value::Array(first) = &pending[0] else { panic!("{pending:?}") };
        let redis::Value::BulkString(id) = &first[0] else { panic!("{first:?}") };
        let id = String::from_utf8(id.clone())?;
        let age = ["XCLAIM", stream.as_str(), CONSUMER, CONSUMER, "0", &id, "IDLE", "60001"];
        world.tell_broker(&age).await?;

        let _next = world.consumer(CONSUMER, recorder.handler()).await?;
        arrived(&recorder, 1).await;
        assert_eq!(recorder.bodies(), [sent], "{transport}");
        eventually("nothing is in hand", || async {
            Ok(world.tell_broker(&asked).await? == redis::Value::Array(Vec::new()))
        })
        .await;
    }
    Ok(())
}

#[tokio::test]
async fn cut_connections_lose_nothing_that_is_published_until_it_worked() -> anyhow::Result<()> {
    for transport in WITH_BROKER {
        let recorder = Recorder::content();
        let mut world = World::start(transport).await?;
        let _consumer = world.consumer(CONSUMER, recorder.handler()).await?;
        let sent = events(60);
        for (n, event) in sent.iter().enumerate() {
            if n % 20 == 10 {
                all_arrived(&recorder, &sent[..n]).await;
                let cut = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
                let redis::Value::Int(cut) = world.tell_broker(&cut).await? else { panic!() };
                assert!(cut > 0, "{transport}: nobody was connected");
            }
            world.publish_surely(event).await;
        }
        all_arrived(&recorder, &sent).await;
    }
    Ok(())
}

/// What it had not delivered is lost with it, which is allowed; what is published later arrives.
#[tokio::test]
async fn a_broker_that_forgets_everything_carries_on() -> anyhow::Result<()> {
    for transport in WITH_BROKER {
        let recorder = Recorder::content();
        let mut world = World::start(transport).await?;
        let _consumer = world.consumer(CONSUMER, recorder.handler()).await?;
        let sent = events(40);
        for (n, after) in sent.iter().enumerate() {
            if n % 10 == 5 {
                world.publish_surely(&event("perhaps lost")).await;
                world.tell_broker(&["FLUSHALL"]).await?;
            }
            world.publish_surely(after).await;
            all_arrived(&recorder, &sent[..=n]).await;
        }
        all_arrived(&recorder, &sent).await;
    }
    Ok(())
}

/// Covers: F12.
#[tokio::test]
async fn a_broker_that_dies_and_comes_back_carries_on() -> anyhow::Result<()> {
    for transport in WITH_BROKER {
        let recorder = Recorder::content();
        let mut world = World::start(transport).await?;
        let _consumer = world.consumer(CONSUMER, recorder.handler()).await?;
        world.publish(Lane::Normal, &event("before")).await?;
        arrived(&recorder, 1).await;
        assert!(world.relay().ready().await);

        world.broker_mut().kill()?;
        world.publish(Lane::Normal, &event("lost")).await.unwrap_err();
        world.broker_mut().restart().await?;
        let after = [event("after")];
        world.publish_surely(&after[0]).await;
        all_arrived(&recorder, &after).await;
        assert!(world.relay().ready().await);
    }
    Ok(())
}

#[tokio::test]
async fn a_publish_that_nobody_answers_is_an_error_in_time() -> anyhow::Result<()> {
    for transport in WITH_BROKER {
        let recorder = Recorder::content();
        let mut world = World::start(transport).await?;
        let _consumer = world.consumer(CONSUMER, recorder.handler()).await?;
        world.publish(Lane::Normal, &event("before")).await?;
        arrived(&recorder, 1).await;
        world.broker().pause()?;
        let unknown = event("unknown");
        let publishing = world.publish(Lane::Normal, &unknown);
        tokio::time::timeout(Duration::from_secs(6), publishing).await?.unwrap_err();
        world.broker().resume()?;
        world.publish_surely(&unknown).await;
        all_arrived(&recorder, &[unknown]).await;
    }
    Ok(())
}

#[tokio::test]
async fn running_ends_soon_after_it_is_told_to() -> anyhow::Result<()> {
    for transport in ALL {
        let recorder = Recorder::content();
        let mut world = World::start(transport).await?;
        let consumer = world.consumer(CONSUMER, recorder.handler()).await?;
        world.publish(Lane::Normal, &event("before")).await?;
        arrived(&recorder, 1).await;
        consumer.stop().await?;
    }
    let (nowhere, stop) = (Bus::none(), CancellationToken::new());
    nowhere.subscribe(&products(), Recorder::content().handler());
    stop.cancel();
    soon(nowhere.run(stop)).await??;
    Ok(())
}
