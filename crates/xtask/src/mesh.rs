//! The mesh as one table: which services run here, on which ports and with which settings.
//!
//! Everything else (roles, databases, sidecars, environment, order of start) is derived from it.

use serde::{Deserialize, Serialize};

/// What a service keeps in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    /// Nothing.
    None,
    /// Copies of what others own.
    Copies,
    /// Masters, with an outbox that a relay reads; and perhaps copies.
    Masters,
}

/// A setting that only one service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// The databases whose outboxes it reads, as `<source>=<url>,...`.
    Sources(&'static str),
    /// Where another service listens, told only where no sidecar finds it.
    Peer(&'static str, &'static str),
    /// Where another service listens, told always: for what no sidecar carries.
    Address(&'static str, &'static str),
    /// The cache, with its password.
    Cache(&'static str),
    /// A folder of its own below the home.
    Folder(&'static str, &'static str),
}

/// One service of the mesh.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its name, program, app-id and, if it has one, database.
    pub(crate) name: &'static str,
    /// The documented port on 127.0.0.1.
    pub(crate) port: u16,
    /// What it keeps.
    pub(crate) database: Database,
    /// What it takes beside the settings that all services share.
    pub(crate) settings: &'static [Setting],
}

impl Service {
    /// Whether it has a database, and with it an owner and a migration.
    pub(crate) fn has_database(&self) -> bool {
        self.database != Database::None
    }

    /// The role that owns and migrates its database.
    pub(crate) fn owner_role(&self) -> String {
        format!("{}_owner", self.name)
    }

    /// The role with which the relay reads its outbox.
    pub(crate) fn relay_role(&self) -> String {
        format!("{}_relay", self.name)
    }

    /// The name of its sidecar among the parts.
    pub(crate) fn sidecar(&self) -> String {
        format!("{}-sidecar", self.name)
    }
}

/// All services, in the order in which they start; they stop the other way round.
pub(crate) const SERVICES: &[Service] = &[
    Service { name: "catalog", port: 8081, database: Database::Masters, settings: &[] },
    Service {
        name: "pricing",
        port: 8082,
        database: Database::Masters,
        settings: &[Setting::Peer("RELAY_URL_CATALOG", "relay")],
    },
    Service {
        name: "warehouse",
        port: 8083,
        database: Database::Masters,
        settings: &[Setting::Peer("RELAY_URL_CATALOG", "relay")],
    },
    Service {
        name: "relay",
        port: 8085,
        database: Database::None,
        settings: &[Setting::Sources("SOURCES")],
    },
    Service {
        name: "search-indexer",
        port: 8084,
        database: Database::Copies,
        settings: &[
            Setting::Folder("INDEX_DIR", "search-index"),
            Setting::Peer("RELAY_URL_CATALOG", "relay"),
            Setting::Peer("RELAY_URL_PRICING", "relay"),
            Setting::Peer("RELAY_URL_WAREHOUSE", "relay"),
        ],
    },
    Service {
        name: "gateway",
        port: 8080,
        database: Database::Copies,
        settings: &[
            Setting::Cache("CACHE_URL"),
            Setting::Address("CATALOG_URL", "catalog"),
            Setting::Address("PRICING_URL", "pricing"),
            Setting::Address("WAREHOUSE_URL", "warehouse"),
            Setting::Address("SEARCH_INDEXER_URL", "search-indexer"),
            Setting::Peer("RELAY_URL_CATALOG", "relay"),
            Setting::Peer("RELAY_URL_PRICING", "relay"),
            Setting::Peer("RELAY_URL_WAREHOUSE", "relay"),
        ],
    },
];

/// The service whose address is told to the user.
pub(crate) const FRONT: &str = "gateway";

/// Ports that are documented for a service, present or to come; none is given to anything else.
pub(crate) const DOCUMENTED_PORTS: std::ops::RangeInclusive<u16> = 8080..=8088;

/// How changes travel from a relay to its consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// Through a Dapr sidecar beside each service, over Redis Streams.
    Dapr,
    /// Over Redis Streams directly, without sidecars.
    Redis,
    /// Without a broker: consumers read the relay's feed.
    None,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dapr => "dapr",
            Self::Redis => "redis",
            Self::None => "none",
        })
    }
}

/// Finds a service by name.
pub(crate) fn service(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_a_service_and_every_port_is_documented_once() {
        let mut ports = std::collections::BTreeSet::new();
        for known in SERVICES {
            assert!(DOCUMENTED_PORTS.contains(&known.port) && ports.insert(known.port));
            for setting in known.settings {
                if let Setting::Peer(_, peer) | Setting::Address(_, peer) = setting {
                    assert!(service(peer).is_some(), "{peer} is no service");
                }
            }
        }
        assert!(service(FRONT).is_some());
    }
}
