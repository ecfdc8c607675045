//! Relay: seals the outboxes of its sources, publishes them, answers their consumers.
//!
//! Owns: nothing; the sealed order lies in each source's schema `outbox`.
//! Publishes: every topic of its sources.
//! Consumes: nothing.
//! Serves: `POST /sources/{source}/sync`, `GET /streams/{stream}` and `GET /snapshot/{topic}` to
//! holders of the app token, `GET /where/{topic}` and `GET /sync/status` to everybody.
//! Promise: sources do not wait for each other; one whose database is away is dialled until it is
//! back, and shown as away.

mod config;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use bus::Bus;
use futures::future::join_all;
use outbox::Relay;
use serde_json::{Value, json};
use service_kit::{BoxError, Readiness, Service};

pub use config::{Settings, SourcesError};

/// The program.
#[derive(Debug)]
pub struct Program;

impl service_kit::Program for Program {
    const NAME: &'static str = "relay";
    const ABOUT: &'static str = "Seals the outboxes of its sources, publishes and serves them.";
    const LISTEN: &'static str = "127.0.0.1:8085";
    type Settings = Settings;

    async fn wire(service: Service, settings: Settings) -> Result<(), BoxError> {
        let bus = Bus::connect(&settings.bus, Self::NAME)?;
        service.tasks().spawn("bus", bus.run(service.stop()));
        let relays = open(&settings, &bus)?;
        for relay in relays.clone() {
            let stop = service.stop();
            service.tasks().spawn("relay", async move {
                relay.run(stop).await;
                Ok::<_, BoxError>(())
            });
        }
        let watched = relays.clone();
        service.ready_when("sources", move || std::future::ready(readiness(&watched)));
        service.serve(routes(&bus, relays)).await?;
        Ok(())
    }
}

/// One relay for each source.
pub fn open(settings: &Settings, bus: &Bus) -> Result<Vec<Relay>, BoxError> {
    let sources = settings.sources()?;
    let mut relays = Vec::with_capacity(sources.len());
    for (source, url) in &sources {
        relays.push(Relay::open(&settings.relay, source.clone(), url, bus.clone())?);
    }
    Ok(relays)
}

/// The three calls, guarded, and for everybody where a change is and the status.
pub fn routes(bus: &Bus, relays: Vec<Relay>) -> Router {
    let calls = bus.guard(outbox::routes(&relays));
    let trail = outbox::trail_routes(&relays);
    let watched = Watched { transport: bus.transport().to_string(), relays };
    let status = Router::new().route("/sync/status", get(status)).with_state(Arc::new(watched));
    calls.merge(trail).merge(status)
}

/// One source that is up is reason enough to be asked; all of them away is none.
fn readiness(relays: &[Relay]) -> Readiness {
    if relays.iter().any(Relay::is_up) {
        Readiness::Ready
    } else {
        Readiness::NotReady("no source's database could be reached".to_owned())
    }
}

struct Watched {
    transport: String,
    relays: Vec<Relay>,
}

async fn status(State(watched): State<Arc<Watched>>) -> axum::Json<Value> {
    // At once, since a frozen database answers at its deadline only.
    let sources = join_all(watched.relays.iter().map(Relay::status)).await;
    axum::Json(json!({
        "service": <Program as service_kit::Program>::NAME,
        "transport": watched.transport,
        "sources": sources,
    }))
}
