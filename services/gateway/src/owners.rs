//! The services behind the gateway, and which routes each of them owns.

use std::time::Duration;

use bus::{Bus, Peer, Transport};

use crate::Settings;

pub(crate) const PRODUCT: &str = "/api/v1/products/{sku}";
pub(crate) const CATEGORY: &str = "/api/v1/categories/{id}";
pub(crate) const SEARCH: &str = "/api/v1/search";

/// The gateway cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Without a sidecar every service needs an address.
    #[error("find {owner}: with transport {transport} set {setting}")]
    NoAddress {
        /// The service.
        owner: &'static str,
        /// The transport that was chosen.
        transport: Transport,
        /// The setting that is missing.
        setting: &'static str,
    },
    /// The request would end before its answer may come, and nobody would be told who was late.
    #[error("limit answers to {answer_ms} ms: must be less than the {request_ms} ms of a request")]
    Limits {
        /// What a service behind may take.
        answer_ms: u64,
        /// What a request may take here.
        request_ms: u64,
    },
}

/// The services behind the gateway.
#[derive(Debug, Clone)]
pub struct Owners {
    pub(crate) catalog: Owner,
    pub(crate) search_indexer: Owner,
}

/// One service behind the gateway, which owns the answers of its routes.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) name: &'static str,
    pub(crate) peer: Peer,
    pub(crate) answer_max: Duration,
    /// The routes of it that the gateway serves.
    pub(crate) routes: &'static [&'static str],
}

impl Owners {
    /// Finds each service: at its URL where one is set, otherwise through the sidecar.
    pub fn connect(bus: &Bus, settings: &Settings) -> Result<Self, Error> {
        let (answer_ms, request_ms) =
            (settings.answer_ms_max, settings.service.http_request_ms_max);
        if answer_ms >= request_ms {
            return Err(Error::Limits { answer_ms, request_ms });
        }
        let answer_max = Duration::from_millis(answer_ms);
        let find = |owner, url: &Option<String>, setting| match (url, bus.transport()) {
            (Some(url), _) => Ok(bus.direct(url)),
            (None, Transport::Dapr) => Ok(bus.peer(owner)),
            (None, transport @ (Transport::Redis | Transport::Memory | Transport::None)) => {
                Err(Error::NoAddress { owner, transport, setting })
            }
        };
        Ok(Self {
            catalog: Owner {
                name: "catalog",
                peer: find("catalog", &settings.catalog_url, "CATALOG_URL")?,
                answer_max,
                routes: &[PRODUCT, CATEGORY],
            },
            search_indexer: Owner {
                name: "search-indexer",
                peer: find("search-indexer", &settings.search_indexer_url, "SEARCH_INDEXER_URL")?,
                answer_max,
                routes: &[SEARCH],
            },
        })
    }

    pub(crate) fn all(&self) -> [&Owner; 2] {
        [&self.catalog, &self.search_indexer]
    }
}
