//! The bus from outside: what all transports promise, and what each of them adds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a surprise fails the test")]

mod components;
mod conformance;
mod dapr;
mod fitness;
mod memory;
mod redis;
mod routes;
mod sidecar;

use std::sync::{Arc, Mutex, PoisonError};

use bus::{Delivery, Handler, Verdict};
use contracts::Topic;
use futures::future::{BoxFuture, FutureExt as _};

/// Remembers what arrives, and decides by a function of it and of how often it came.
struct Recorder {
    bodies: Mutex<Vec<String>>,
    decide: fn(&str, usize) -> Verdict,
}

impl Recorder {
    fn new(decide: fn(&str, usize) -> Verdict) -> Arc<Self> {
        Arc::new(Self { bodies: Mutex::default(), decide })
    }

    fn content() -> Arc<Self> {
        Self::new(|_, _| Verdict::Done)
    }

    fn handler(self: &Arc<Self>) -> Arc<dyn Handler> {
        Arc::<Self>::clone(self)
    }

    fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Handler for Recorder {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Verdict> {
        async move {
            let body = String::from_utf8(delivery.body.to_vec()).unwrap();
            let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
            bodies.push(body.clone());
            let times = bodies.iter().filter(|known| **known == body).count();
            drop(bodies);
            (self.decide)(&body, times)
        }
        .boxed()
    }
}

fn products() -> Topic {
    Topic::parse("catalog.products").unwrap()
}
