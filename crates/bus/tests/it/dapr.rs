//! What Syncline relies on in the real sidecar beside the promises of all transports.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::routing::{any, get};
use bus::{Bus, Peer};
use bytes::Bytes;
use contracts::{Lane, Problem, Stream, Topic};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::SecretString;
use testkit::{RedisServer, eventually};

use crate::conformance::event;
use crate::conformance::world::TURNS;
use crate::sidecar::{APP_TOKEN, Host, Sidecar};
use crate::{Recorder, products};

/// A relay's bus, and a consumer whose handler is the recorder, if any.
struct Mesh {
    relay: Bus,
    sidecars: [Sidecar; 2],
    /// Serves the consumer for as long as the mesh lives.
    _host: Host,
    _broker: RedisServer,
}

impl Mesh {
    async fn start(recorder: Option<&Arc<Recorder>>) -> anyhow::Result<Self> {
        Self::start_with(recorder, |routes, _| routes).await
    }

    /// The consumer's routes are wrapped; the wrapping sees the bus before its sidecar runs.
    async fn start_with(
        recorder: Option<&Arc<Recorder>>,
        wrap: impl FnOnce(Router, Bus) -> Router,
    ) -> anyhow::Result<Self> {
        let broker = RedisServer::streams().await?;
        let mut host = Host::new(&broker.url())?;
        let inbound = Bus::none().with_app_token(SecretString::from(APP_TOKEN));
        if let Some(recorder) = recorder {
            for topic in [products(), Topic::parse("catalog.categories")?] {
                inbound.subscribe(&topic, recorder.handler());
            }
        }
        let port = host.serve(wrap(inbound.routes(), inbound.clone())).await?;
        let consuming = host.sidecar("search-indexer", port).await?;
        let publishing = host.sidecar("relay", 1).await?;
        Ok(Self {
            relay: publishing.bus()?,
            sidecars: [consuming, publishing],
            _host: host,
            _broker: broker,
        })
    }

    async fn publish(&self, lane: Lane, event: &str) -> Result<(), bus::Error> {
        publish(&self.relay, &Stream::new(&products(), lane), lane, event).await
    }
}

async fn publish(bus: &Bus, to: &Stream, lane: Lane, event: &str) -> Result<(), bus::Error> {
    bus.publish(to, lane, Bytes::copy_from_slice(event.as_bytes())).await
}

#[tokio::test]
async fn what_comes_before_its_handler_is_not_lost() -> anyhow::Result<()> {
    let _turn = TURNS.lock().await;
    let recorder = Recorder::content();
    let refusals = Arc::new(AtomicUsize::new(0));
    let (counted, late) = (Arc::clone(&refusals), recorder.handler());
    // Registers the handler once a delivery has been refused for want of it.
    let watch = move |routes: Router, bus: Bus| {
        routes.layer(middleware::from_fn(move |request: Request, next: Next| {
            let (bus, refusals, late) = (bus.clone(), Arc::clone(&counted), Arc::clone(&late));
            async move {
                let answer = next.run(request).await;
                if answer.status() == StatusCode::INTERNAL_SERVER_ERROR {
                    refusals.fetch_add(1, Ordering::SeqCst);
                    bus.subscribe(&products(), late);
                }
                answer
            }
        }))
    };
    let mesh = Mesh::start_with(None, watch).await?;
    let early = event("early");
    mesh.publish(Lane::Normal, &early).await?;
    eventually("it is taken", || async { Ok(recorder.bodies() == [early.clone()]) }).await;
    assert!(refusals.load(Ordering::SeqCst) >= 1);
    Ok(())
}

#[tokio::test]
async fn tokens_and_scopes_keep_strangers_out() -> anyhow::Result<()> {
    let _turn = TURNS.lock().await;
    let recorder = Recorder::content();
    let mesh = Mesh::start(Some(&recorder)).await?;
    let [consuming, publishing] = &mesh.sidecars;
    let stream = Stream::new(&products(), Lane::Normal);

    let stranger = publishing.bus_with("wrong", APP_TOKEN)?;
    publish(&stranger, &stream, Lane::Normal, &event("stranger")).await.unwrap_err();
    let question = stranger.peer("search-indexer").request(Method::GET, "/").send().await?;
    assert_eq!(question.status(), StatusCode::UNAUTHORIZED);

    let consumer = consuming.bus()?;
    publish(&consumer, &stream, Lane::Normal, &event("forged")).await.unwrap_err();
    let other = Stream::parse("catalog.secrets.normal")?;
    publish(&mesh.relay, &other, Lane::Normal, &event("unlisted")).await.unwrap_err();
    let lane = publish(&mesh.relay, &stream, Lane::Bulk, &event("wrong lane")).await;
    lane.unwrap_err();

    let honest = event("honest");
    mesh.publish(Lane::Normal, &honest).await?;
    eventually("it is taken", || async { Ok(!recorder.bodies().is_empty()) }).await;
    assert_eq!(recorder.bodies(), [honest]);
    assert!(publishing.bus_with("", APP_TOKEN).is_err());
    Ok(())
}

#[tokio::test]
async fn a_service_with_another_app_token_refuses_its_sidecar() -> anyhow::Result<()> {
    let _turn = TURNS.lock().await;
    let broker = RedisServer::streams().await?;
    let mut host = Host::new(&broker.url())?;
    let recorder = Recorder::content();
    let refusals = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refusals);
    let strict = Bus::none().with_app_token(SecretString::from("another"));
    strict.subscribe(&products(), recorder.handler());
    let count = middleware::from_fn(move |request: Request, next: Next| {
        let counted = Arc::clone(&counted);
        async move {
            let answer = next.run(request).await;
            if answer.status() == StatusCode::UNAUTHORIZED {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            answer
        }
    });
    let port = host.serve(strict.routes().layer(count)).await?;
    let _consuming = host.sidecar("search-indexer", port).await?;
    let relay = host.sidecar("relay", 1).await?;
    let stream = Stream::new(&products(), Lane::Normal);
    publish(&relay.bus()?, &stream, Lane::Normal, r#"{"specversion":"1.0"}"#).await?;
    // One try and the four of the resiliency file: a 401 is repeated like a 500.
    eventually("all tries", || async { Ok(refusals.load(Ordering::SeqCst) >= 5) }).await;
    assert!(recorder.bodies().is_empty());
    Ok(())
}

/// Covers: A10.
#[tokio::test]
async fn a_question_reaches_its_peer_with_headers_body_and_problem_unchanged() -> anyhow::Result<()>
{
    let _turn = TURNS.lock().await;
    let broker = RedisServer::streams().await?;
    let mut host = Host::new(&broker.url())?;
    let echo = any(async |headers: HeaderMap, request: Request| {
        let text = |name| headers[name].to_str().unwrap().to_owned();
        let path = request.uri().to_string();
        let names = ["if-match", "idempotency-key", "traceparent", "dapr-api-token"].map(text);
        ([("etag", "\"7-abc\"")], format!("{path} {}", names.join(" ")))
    });
    let refuse = get(async || {
        let media = [("content-type", Problem::MEDIA_TYPE)];
        (StatusCode::PRECONDITION_FAILED, media, r#"{"code":"stale"}"#)
    });
    let routes = Router::new().route("/echo/{key}", echo).route("/refuse", refuse);
    let port = host.serve(routes).await?;
    let _catalog = host.sidecar("catalog", port).await?;
    let gateway = host.sidecar("gateway", 1).await?;
    let peer = gateway.bus()?.peer("catalog");

    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = peer.request(Method::PUT, "/echo/MH01-XS.Black_1?q=a%20b&c=%2F").body("{}");
    let request = request.header("if-match", "\"6-def\"").header("idempotency-key", "k1");
    let answer = request.header("traceparent", trace).send().await?;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["etag"], "\"7-abc\"");
    let expected = format!("/echo/MH01-XS.Black_1?q=a%20b&c=%2F \"6-def\" k1 {trace} {APP_TOKEN}");
    assert_eq!(answer.text().await?, expected);

    let refused = peer.request(Method::GET, "/refuse").send().await?;
    assert_eq!(refused.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(refused.headers()["content-type"], Problem::MEDIA_TYPE);
    assert_eq!(refused.text().await?, r#"{"code":"stale"}"#);
    assert_unreachable(&gateway.bus()?.peer("search-indexer")).await
}

#[tokio::test]
async fn the_longest_question_that_a_gateway_passes_on_reaches_its_peer() -> anyhow::Result<()> {
    let _turn = TURNS.lock().await;
    let broker = RedisServer::streams().await?;
    let mut host = Host::new(&broker.url())?;
    let echo = any(async |headers: HeaderMap, request: Request| {
        let keys = headers.get_all("if-match").iter().map(HeaderValue::len);
        format!("{} {:?}", request.uri().to_string().len(), keys.collect::<Vec<_>>())
    });
    let port = host.serve(Router::new().route("/echo", echo)).await?;
    let _catalog = host.sidecar("catalog", port).await?;
    let gateway = host.sidecar("gateway", 1).await?;
    let peer = gateway.bus()?.peer("catalog");
    // 8 KiB of what needs three bytes for each, and 8 KiB in two headers of one name.
    let path = format!("/echo?q={}", "%C3%A4".repeat(4 * 1024));
    let request = peer.request(Method::PUT, &path).header("if-match", "a".repeat(4000));
    let answer = request.header("if-match", "b".repeat(4192)).send().await?;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.text().await?, format!("{} [4000, 4192]", path.len()));
    Ok(())
}

/// The sidecar's own error is a 500 that is no problem: so one tells it from a service's.
async fn assert_unreachable(peer: &Peer) -> anyhow::Result<()> {
    let start = tokio::time::Instant::now();
    let answer = peer.request(Method::GET, "/").send().await?;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert!(answer.text().await?.contains("ERR_DIRECT_INVOKE"));
    assert!(start.elapsed().as_secs() < 3, "it was tried again for {:?}", start.elapsed());
    Ok(())
}
