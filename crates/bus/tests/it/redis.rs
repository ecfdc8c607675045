//! What the transport without a sidecar adds: it shares streams with sidecars, and it is patient.

use std::sync::{Arc, Mutex};

use bus::{Bus, Config, Delivery, Handler, Transport, Verdict};
use bytes::Bytes;
use clap::Parser as _;
use contracts::{Lane, Stream};
use futures::future::{BoxFuture, FutureExt as _, ready};
use redis::Value;
use secrecy::SecretString;
use testkit::{RedisServer, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::conformance::world::{connect, direct, soon};
use crate::conformance::{Stuck, event};
use crate::sidecar::{APP_TOKEN, Host};
use crate::{Recorder, products};

const CONSUMER: &str = "search-indexer";

fn stream() -> Stream {
    Stream::new(&products(), Lane::Normal)
}

async fn publish(bus: &Bus, event: &str) -> Result<(), bus::Error> {
    bus.publish(&stream(), Lane::Normal, Bytes::copy_from_slice(event.as_bytes())).await
}

async fn ask(server: &RedisServer, words: &[&str]) -> anyhow::Result<Value> {
    let mut command = redis::Cmd::new();
    Ok(command.arg(words).query_async(&mut connect(&server.url()).await?).await?)
}

/// The entries of the stream: name and value of each field, in the order of the names.
async fn entries(server: &RedisServer) -> anyhow::Result<Vec<Vec<(String, String)>>> {
    let answer = ask(server, &["XRANGE", stream().as_str(), "-", "+"]).await?;
    let entries: Vec<(String, Vec<(String, String)>)> = redis::from_redis_value(answer)?;
    let sorted = entries.into_iter().map(|(_, mut fields)| {
        fields.sort();
        fields
    });
    Ok(sorted.collect())
}

/// A consumer's loops, ended with this value.
struct Running {
    bus: Bus,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), bus::Error>>,
}

impl Running {
    fn start(url: &str) -> anyhow::Result<Self> {
        let bus = direct(url, CONSUMER)?;
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(bus.run(stop.clone()));
        Ok(Self { bus, stop, tasks })
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        soon(self.tasks.join_next()).await?.expect("it runs until it is stopped")??;
        Ok(())
    }
}

#[tokio::test]
async fn a_sidecar_delivers_what_was_published_without_one_and_the_other_way_round()
-> anyhow::Result<()> {
    let server = RedisServer::streams().await?;
    let mut host = Host::new(&server.url())?;
    let (through, without) = (Recorder::content(), Recorder::content());
    let inbound = Bus::none().with_app_token(SecretString::from(APP_TOKEN));
    inbound.subscribe(&products(), through.handler());
    let port = host.serve(inbound.routes()).await?;
    let _beside_consumer = host.sidecar("gateway", port).await?;
    let beside_relay = host.sidecar("relay", 1).await?;
    let running = Running::start(&server.url())?;
    running.bus.subscribe(&products(), without.handler());

    let sent = [event("direct"), event("through a sidecar")];
    publish(&direct(&server.url(), "relay")?, &sent[0]).await?;
    publish(&beside_relay.bus()?, &sent[1]).await?;
    for recorder in [&through, &without] {
        eventually("both arrive", || async { Ok(recorder.bodies().len() >= 2) }).await;
        assert_eq!(recorder.bodies(), sent);
    }

    let [one, other] = &entries(&server).await?[..] else { panic!("there are two entries") };
    let blank = |entry: &[(String, String)]| {
        entry
            .iter()
            .map(|(name, value)| (name.clone(), value.replace(&sent[0], &sent[1])))
            .collect()
    };
    let (one, other): (Vec<_>, Vec<_>) = (blank(one), blank(other));
    assert_eq!(one, other, "one layout");
    let metadata = one.iter().find(|(name, _)| name == "metadata").map(|(_, value)| value.as_str());
    let metadata: serde_json::Value = serde_json::from_str(metadata.unwrap())?;
    assert_eq!(metadata["traceid"], "", "the trace is in the envelope alone: {metadata}");
    running.stop().await
}

#[tokio::test]
async fn a_process_beside_a_sidecar_and_one_without_share_the_work_of_one_consumer()
-> anyhow::Result<()> {
    let server = RedisServer::streams().await?;
    let mut host = Host::new(&server.url())?;
    let recorder = Recorder::content();
    let inbound = Bus::none().with_app_token(SecretString::from(APP_TOKEN));
    inbound.subscribe(&products(), recorder.handler());
    let port = host.serve(inbound.routes()).await?;
    let _sidecar = host.sidecar(CONSUMER, port).await?;
    let running = Running::start(&server.url())?;
    running.bus.subscribe(&products(), recorder.handler());
    let relay = direct(&server.url(), "relay")?;
    let mut sent = Vec::new();
    for n in 0..100 {
        sent.push(event(&n.to_string()));
        publish(&relay, &sent[n]).await?;
    }
    eventually("all arrive", || async { Ok(recorder.bodies().len() >= sent.len()) }).await;
    let mut bodies = recorder.bodies();
    bodies.sort();
    sent.sort();
    assert_eq!(bodies, sent, "each once");
    running.stop().await
}

#[tokio::test]
async fn topics_are_read_before_and_after_running_and_each_by_itself() -> anyhow::Result<()> {
    let server = RedisServer::streams().await?;
    publish(&direct(&server.url(), "relay")?, &event("early")).await?;
    let running = Running::start(&server.url())?;
    let (first, second) = (Recorder::content(), Recorder::content());
    running.bus.subscribe(&products(), first.handler());
    eventually("it arrives", || async { Ok(first.bodies() == [event("early")]) }).await;

    running.bus.subscribe(&products(), second.handler());
    publish(&direct(&server.url(), "relay")?, &event("late")).await?;
    eventually("the last handler has it", || async { Ok(second.bodies() == [event("late")]) })
        .await;
    assert_eq!(first.bodies().len(), 1);
    running.stop().await
}

#[tokio::test]
async fn entries_older_than_ten_minutes_are_trimmed_and_younger_ones_are_not() -> anyhow::Result<()>
{
    let server = RedisServer::streams().await?;
    let relay = direct(&server.url(), "relay")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let (stream, minute) = (stream(), 60 * 1000);
    // Whole nodes are trimmed, of at most a hundred entries each.
    for n in 0..300 {
        let id = format!("{}-{n}", now - 11 * minute);
        ask(&server, &["XADD", stream.as_str(), &id, "data", "old"]).await?;
    }
    let young = format!("{}-0", now - 9 * minute);
    ask(&server, &["XADD", stream.as_str(), &young, "data", "young"]).await?;
    publish(&relay, &event("new")).await?;
    let kept = entries(&server).await?;
    assert!(kept.len() <= 102, "{} are kept", kept.len());
    assert!(kept[kept.len() - 2].contains(&("data".to_owned(), "young".to_owned())));
    Ok(())
}

#[tokio::test]
async fn a_foreign_entry_is_acknowledged_and_delays_nothing() -> anyhow::Result<()> {
    let server = RedisServer::streams().await?;
    ask(&server, &["XADD", stream().as_str(), "*", "note", "no envelope"]).await?;
    publish(&direct(&server.url(), "relay")?, &event("next")).await?;
    let recorder = Recorder::content();
    let running = Running::start(&server.url())?;
    running.bus.subscribe(&products(), recorder.handler());
    eventually("the next arrives", || async { Ok(recorder.bodies() == [event("next")]) }).await;
    running.stop().await?;
    let pending = ask(&server, &["XPENDING", stream().as_str(), CONSUMER, "-", "+", "9"]).await?;
    assert_eq!(pending, Value::Array(Vec::new()));
    Ok(())
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_broker_that_hangs_or_is_gone() -> anyhow::Result<()> {
    let mut server = RedisServer::streams().await?;
    for is_gone in [false, true] {
        let recorder = Recorder::content();
        let running = Running::start(&server.url())?;
        running.bus.subscribe(&products(), recorder.handler());
        publish(&running.bus, &event("before")).await?;
        eventually("it arrives", || async { Ok(!recorder.bodies().is_empty()) }).await;
        if is_gone {
            server.kill()?;
        } else {
            server.pause()?;
        }
        assert!(!running.bus.ready().await);
        running.stop().await?;
        if !is_gone {
            server.resume()?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn stopping_leaves_a_handler_that_hangs_and_its_delivery_pending() -> anyhow::Result<()> {
    let server = RedisServer::streams().await?;
    let running = Running::start(&server.url())?;
    let stream = stream();
    let stuck = Stuck { stream: stream.clone(), others: Recorder::content() };
    running.bus.subscribe(&products(), Arc::new(stuck));
    publish(&running.bus, &event("never answered")).await?;
    let pending = ["XPENDING", stream.as_str(), CONSUMER, "-", "+", "9"];
    eventually("it is in hand", || async {
        Ok(matches!(ask(&server, &pending).await?, Value::Array(found) if found.len() == 1))
    })
    .await;
    running.stop().await?;
    let Value::Array(left) = ask(&server, &pending).await? else { panic!() };
    assert_eq!(left.len(), 1);
    Ok(())
}

/// Takes three of those that wait together, and each of the rest by itself.
#[derive(Default)]
struct Three {
    together: Mutex<Vec<usize>>,
    alone: Mutex<Vec<String>>,
}

impl Handler for Three {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Verdict> {
        let body = String::from_utf8(delivery.body.to_vec()).unwrap();
        self.alone.lock().unwrap().push(body);
        ready(Verdict::Done).boxed()
    }

    fn deliver_all<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, usize> {
        self.together.lock().unwrap().push(deliveries.len());
        ready(3).boxed()
    }
}

#[tokio::test]
async fn what_waits_is_handed_over_together_and_the_rest_of_it_one_by_one() -> anyhow::Result<()> {
    let server = RedisServer::streams().await?;
    let sent: Vec<_> = (0..5).map(|n| event(&n.to_string())).collect();
    for event in &sent {
        publish(&direct(&server.url(), "relay")?, event).await?;
    }
    let running = Running::start(&server.url())?;
    let handler = Arc::<Three>::default();
    running.bus.subscribe(&products(), Arc::<Three>::clone(&handler));
    eventually("all are taken", async || Ok(handler.alone.lock().unwrap().len() == 2)).await;
    assert_eq!(*handler.together.lock().unwrap(), [5]);
    assert_eq!(*handler.alone.lock().unwrap(), sent[3..]);
    running.stop().await?;
    let stream = stream();
    let asked = ["XPENDING", stream.as_str(), CONSUMER, "-", "+", "9"];
    let Value::Array(pending) = ask(&server, &asked).await? else { panic!() };
    assert!(pending.is_empty(), "all of them are acknowledged");
    Ok(())
}

#[tokio::test]
async fn one_that_is_refused_among_those_that_wait_is_tried_as_often_as_any_other()
-> anyhow::Result<()> {
    let server = RedisServer::streams().await?;
    let sent = ["one", "refused", "two"].map(event);
    for event in &sent {
        publish(&direct(&server.url(), "relay")?, event).await?;
    }
    let running = Running::start(&server.url())?;
    let decide = |body: &str, _| {
        if body.contains("refused") { Verdict::Retry } else { Verdict::Done }
    };
    let recorder = Recorder::new(decide);
    running.bus.subscribe(&products(), recorder.handler());
    eventually("the last is taken", async || Ok(recorder.bodies().contains(&sent[2]))).await;
    let times = sent.map(|event| recorder.bodies().iter().filter(|body| **body == event).count());
    assert_eq!(times, [1, 5, 1]);
    running.stop().await
}

/// Stops its own process, and then decides.
struct Last {
    stop: CancellationToken,
    verdict: Verdict,
}

impl Handler for Last {
    fn deliver(&self, _: Delivery) -> BoxFuture<'_, Verdict> {
        self.stop.cancel();
        ready(self.verdict).boxed()
    }
}

#[tokio::test]
async fn a_stopping_process_acknowledges_what_it_took_and_nothing_else() -> anyhow::Result<()> {
    for (verdict, left) in [(Verdict::Done, 0), (Verdict::Retry, 1)] {
        let server = RedisServer::streams().await?;
        let mut running = Running::start(&server.url())?;
        let last = Last { stop: running.stop.clone(), verdict };
        running.bus.subscribe(&products(), Arc::new(last));
        publish(&running.bus, &event("last")).await?;
        soon(running.tasks.join_next()).await?.expect("it runs until it is stopped")??;
        let stream = stream();
        let asked = ["XPENDING", stream.as_str(), CONSUMER, "-", "+", "9"];
        let Value::Array(pending) = ask(&server, &asked).await? else { panic!() };
        assert_eq!(pending.len(), left, "{verdict:?}");
    }
    Ok(())
}

/// Nobody is there who would understand: each connection ends as soon as it is made.
#[tokio::test]
async fn a_broker_that_hangs_up_is_dialled_less_and_less_often() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("redis://{}", listener.local_addr()?);
    let running = Running::start(&url)?;
    running.bus.subscribe(&products(), Recorder::content().handler());
    let end = Instant::now() + Duration::from_secs(2);
    let mut dialled = 0;
    while let Ok(accepted) = timeout_at(end, listener.accept()).await {
        accepted?;
        dialled += 1;
    }
    // Three lanes, and about six tries each: a twentieth, the next at most twice as late, ...
    assert!((3..=60).contains(&dialled), "dialled {dialled} times in two seconds");
    running.stop().await
}

#[tokio::test]
async fn many_publishes_share_one_connection() -> anyhow::Result<()> {
    let server = RedisServer::streams().await?;
    let relay = Arc::new(direct(&server.url(), "relay")?);
    let mut tasks = JoinSet::new();
    for n in 0..100 {
        let relay = Arc::clone(&relay);
        tasks.spawn(async move { publish(&relay, &event(&n.to_string())).await });
    }
    while let Some(published) = tasks.join_next().await {
        published??;
    }
    assert_eq!(entries(&server).await?.len(), 100);
    let connections: String =
        redis::from_redis_value(ask(&server, &["CLIENT", "LIST", "TYPE", "normal"]).await?)?;
    assert_eq!(connections.lines().count(), 2, "the relay's and this one: {connections}");
    Ok(())
}

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    bus: Config,
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused_and_show_no_password() {
    let read = |arguments: &[&str]| {
        let all = ["service", "--app-api-token", "token"].iter().chain(arguments);
        Settings::try_parse_from(all.copied()).map(|settings| settings.bus)
    };
    let missing = read(&["--transport", "redis"]).unwrap_err().to_string();
    assert!(missing.contains("--redis-url"), "{missing}");

    let config = read(&["--transport", "redis", "--redis-url", "redis://:secret@h:1"]).unwrap();
    assert_eq!(config.transport, Transport::Redis);
    let bus = Bus::connect(&config, CONSUMER).unwrap();
    assert!(!format!("{config:?} {bus:?}").contains("secret"));
    assert!(!bus.ready().await);

    for wrong in ["http://:secret@h:1", "redis://:secret@h:1/nine", "rediss://:secret@h:1"] {
        let config = read(&["--transport", "redis", "--redis-url", wrong]).unwrap();
        let error = Bus::connect(&config, CONSUMER).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("REDIS_URL") && !shown.contains("secret"), "{wrong}: {shown}");
    }
    let config = Config { redis_url: None, ..config };
    Bus::connect(&config, CONSUMER).unwrap_err();
}
