//! The services behind the gateway, and which routes each of them owns.

use std::time::Duration;

use bus::{Bus, Peer, Transport};

use crate::{Settings, view};

pub(crate) const PRODUCT: &str = "/api/v1/products/{sku}";
pub(crate) const PRODUCTS_IMPORT: &str = "/api/v1/products/import";
pub(crate) const CATEGORY: &str = "/api/v1/categories/{id}";
pub(crate) const CATEGORIES_IMPORT: &str = "/api/v1/categories/import";
pub(crate) const PRICE: &str = "/api/v1/prices/{sku}";
pub(crate) const PRICES_IMPORT: &str = "/api/v1/prices/import";
pub(crate) const PROMOTION: &str = "/api/v1/promotions/{id}";
pub(crate) const PROMOTIONS_IMPORT: &str = "/api/v1/promotions/import";
pub(crate) const LOCATION: &str = "/api/v1/locations/{id}";
pub(crate) const LOCATIONS_IMPORT: &str = "/api/v1/locations/import";
pub(crate) const STOCK_OF: &str = "/api/v1/stock/{sku}";
pub(crate) const STOCK: &str = "/api/v1/stock/{sku}/{location}";
pub(crate) const STOCK_IMPORT: &str = "/api/v1/stock/import";
pub(crate) const ADJUSTMENTS: &str = "/api/v1/stock/{sku}/{location}/adjustments";
pub(crate) const RESERVATIONS: &str = "/api/v1/reservations";
pub(crate) const RESERVATION: &str = "/api/v1/reservations/{id}";
pub(crate) const FULFILMENT: &str = "/api/v1/reservations/{id}/fulfilment";
pub(crate) const SEARCH: &str = "/api/v1/search";

/// The gateway cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request would end before its answer may come, and nobody would be told who was late.
    #[error(
        "limit answers to {answer_ms} ms: ANSWER_MS_MAX must be below HTTP_REQUEST_MS_MAX \
         {request_ms}"
    )]
    Limits {
        /// What a service behind may take.
        answer_ms: u64,
        /// What a request may take here.
        request_ms: u64,
    },
    /// An owner of a part would never be given up before its whole answer is.
    #[error("limit parts to {part_ms} ms: PART_MS_MAX must not be above ANSWER_MS_MAX {answer_ms}")]
    Parts {
        /// What an owner may take where a copy is at hand.
        part_ms: u64,
        /// What it may take where none is.
        answer_ms: u64,
    },
    /// What is asked for less often than answers may be old is never known to be fresh.
    #[error(
        "ask every {sync_ms} ms: SYNC_INTERVAL_MS must be below the {bound_ms} ms for which an \
             answer is fresh"
    )]
    Sync {
        /// Between two questions.
        sync_ms: u64,
        /// As long ago may be what a fresh answer shows.
        bound_ms: u128,
    },
}

/// The services behind the gateway.
#[derive(Debug, Clone)]
pub struct Owners {
    pub(crate) catalog: Owner,
    pub(crate) pricing: Owner,
    pub(crate) warehouse: Owner,
    pub(crate) search_indexer: Owner,
}

/// One service behind the gateway, which owns the answers of its routes.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) name: &'static str,
    pub(crate) peer: Peer,
    /// The road for what no sidecar carries.
    pub(crate) direct: Peer,
    pub(crate) answer_max: Duration,
    /// The routes of it that the gateway serves.
    pub(crate) routes: &'static [&'static str],
}

impl Owner {
    /// The same owner, who has to answer within another time.
    pub(crate) fn within(&self, answer_max: Duration) -> Self {
        Self { answer_max, ..self.clone() }
    }
}

impl Owners {
    /// Finds each service: through the sidecar where one runs, otherwise at its URL.
    pub fn connect(bus: &Bus, settings: &Settings) -> Result<Self, Error> {
        let (answer_ms, request_ms) =
            (settings.answer_ms_max, settings.service.http_request_ms_max);
        if answer_ms >= request_ms {
            return Err(Error::Limits { answer_ms, request_ms });
        }
        let part_ms = settings.part_ms_max;
        if part_ms > answer_ms {
            return Err(Error::Parts { part_ms, answer_ms });
        }
        let (sync_ms, bound_ms) = (settings.inbox.sync_interval_ms, view::BOUND.as_millis());
        if u128::from(sync_ms) >= bound_ms {
            return Err(Error::Sync { sync_ms, bound_ms });
        }
        let owner = |name, url: &str, routes| {
            let direct = bus.direct(url);
            let has_sidecar = bus.transport() == Transport::Dapr;
            let peer = if has_sidecar { bus.peer(name) } else { direct.clone() };
            Owner { name, peer, direct, answer_max: Duration::from_millis(answer_ms), routes }
        };
        Ok(Self {
            catalog: owner(
                "catalog",
                &settings.catalog_url,
                &[PRODUCT, PRODUCTS_IMPORT, CATEGORY, CATEGORIES_IMPORT],
            ),
            pricing: owner(
                "pricing",
                &settings.pricing_url,
                &[PRICE, PRICES_IMPORT, PROMOTION, PROMOTIONS_IMPORT],
            ),
            warehouse: owner(
                "warehouse",
                &settings.warehouse_url,
                &[
                    LOCATION,
                    LOCATIONS_IMPORT,
                    STOCK_OF,
                    STOCK,
                    STOCK_IMPORT,
                    ADJUSTMENTS,
                    RESERVATIONS,
                    RESERVATION,
                    FULFILMENT,
                ],
            ),
            search_indexer: owner("search-indexer", &settings.search_indexer_url, &[SEARCH]),
        })
    }

    pub(crate) fn all(&self) -> [&Owner; 4] {
        [&self.catalog, &self.pricing, &self.warehouse, &self.search_indexer]
    }
}
