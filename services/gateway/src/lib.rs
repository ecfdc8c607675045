//! Gateway: the one address for the outside; routes to the services behind it.
//!
//! Owns: nothing. Publishes: nothing. Consumes: nothing.
//! Serves: `/api/v1/products/{sku}` and `/api/v1/categories/{id}` of catalog, `/api/v1/search` of
//! search-indexer, `/openapi.json`, the documents of both as one, and `GET /sync/status`.
//! Promise: an owner's answer comes back as it is; whatever goes wrong on the way to the owner is a
//! problem that names it, within a bounded time; nothing is tried twice.

mod config;
mod hop;
mod http;
mod openapi;
mod owners;

use bus::Bus;
use service_kit::{BoxError, Program, Service};

pub use crate::config::Settings;
pub use crate::http::routes;
pub use crate::owners::{Error, Owners};

/// The program, as its command line sees it.
#[derive(Debug, Clone, Copy)]
pub struct Gateway;

impl Program for Gateway {
    const NAME: &'static str = "gateway";
    const ABOUT: &'static str = "The one address for the outside; routes to the services behind it";
    const LISTEN: &'static str = "127.0.0.1:8080";
    type Settings = Settings;

    async fn wire(service: Service, settings: Settings) -> Result<(), BoxError> {
        let bus = Bus::connect(&settings.bus, Self::NAME)?;
        service.tasks().spawn("bus", bus.run(service.stop()));
        let owners = Owners::connect(&bus, &settings)?;
        service.ready_when("sidecar", move || {
            let bus = bus.clone();
            async move { bus.ready().await }
        });
        let status = service.status(&[]);
        Ok(service.serve(routes(owners).merge(status)).await?)
    }
}
