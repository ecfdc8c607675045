//! What is to run in a home and what runs there: the two files through which commands meet.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    home::{self, Home},
    mesh::{self, Transport},
    ports::Ports,
    process::Identity,
};

/// What is to run; written by `up`, completed with ports by the supervisor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// How changes travel.
    pub(crate) transport: Transport,
    /// What is added to every documented port.
    pub(crate) port_offset: u16,
    /// Who listens where, or did at the last start.
    pub(crate) ports: Ports,
    /// The services' programs, by service.
    pub(crate) programs: BTreeMap<String, PathBuf>,
    /// PostgreSQL.
    pub(crate) postgres: PostgresPlan,
    /// The Redis server's program, where a broker runs.
    pub(crate) redis: Option<PathBuf>,
    /// The sidecar's program, where sidecars run.
    pub(crate) daprd: Option<PathBuf>,
    /// Settings added or overridden by the user.
    pub(crate) set: Vec<SetSetting>,
    /// Ways between parts that lead elsewhere.
    #[serde(default)]
    pub(crate) via: Vec<Via>,
    /// Writes per second of the trade; none is there at 0.
    #[serde(default)]
    pub(crate) traffic: u32,
}

/// How PostgreSQL runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PostgresPlan {
    /// The folder of its programs.
    pub(crate) bin: PathBuf,
    /// The folder of its data.
    pub(crate) data: PathBuf,
    /// The user it runs as, where that is not the one who runs all this.
    pub(crate) user: Option<String>,
}

impl Plan {
    /// The plan of a home that was up before.
    pub(crate) fn read(home: &Home) -> Result<Option<Self>> {
        home::read(&home.plan_file())
    }

    /// The port of a part that is known to have one.
    pub(crate) fn port(&self, name: &str) -> Result<u16> {
        self.ports.get(name).copied().with_context(|| format!("{name} has no port"))
    }

    /// The port on which a part asks another: its own, unless the way leads elsewhere.
    pub(crate) fn way(&self, from: &str, to: &str) -> Result<u16> {
        let via = self.via.iter().find(|via| via.from == from && via.to == to);
        via.map_or_else(|| self.port(to), |via| Ok(via.port))
    }

    /// The address that is told to the user.
    pub(crate) fn url(&self) -> Result<String> {
        Ok(format!("http://127.0.0.1:{}", self.port(mesh::FRONT)?))
    }
}

/// One setting of one service, as `<service>.<NAME>=<value>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetSetting {
    /// Whose.
    pub(crate) service: String,
    /// Its name.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: String,
}

impl std::str::FromStr for SetSetting {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('=').and_then(|(path, value)| {
            path.split_once('.').map(|(service, name)| (service, name, value))
        });
        let Some((service, name, value)) = parts else {
            bail!("write <service>.<NAME>=<value>");
        };
        if mesh::service(service).is_none() {
            bail!("`{service}` is no service of the mesh");
        }
        Ok(Self { service: service.to_owned(), name: name.to_owned(), value: value.to_owned() })
    }
}

/// A way between two parts that leads to another port, as `<part>:<part>=<port>`; a test listens
/// there and passes on what it likes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Via {
    /// Who asks.
    pub(crate) from: String,
    /// The name of the port that it would ask.
    pub(crate) to: String,
    /// The port on this host that it asks instead.
    pub(crate) port: u16,
}

impl std::str::FromStr for Via {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text
            .split_once('=')
            .and_then(|(way, port)| way.split_once(':').map(|(from, to)| (from, to, port)));
        let Some((from, to, port)) = parts else { bail!("write <part>:<part>=<port>") };
        let port = port.parse().with_context(|| format!("`{port}` is no port"))?;
        Ok(Self { from: from.to_owned(), to: to.to_owned(), port })
    }
}

/// What runs; written by the supervisor alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    /// How far the mesh is.
    pub(crate) phase: Phase,
    /// Why it is not further, if something went wrong.
    pub(crate) error: Option<String>,
    /// The process that owns all others.
    pub(crate) supervisor: Identity,
    /// Every part.
    pub(crate) parts: Vec<PartState>,
}

/// How far a mesh is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// On its way up.
    Starting,
    /// Every part has been ready once.
    Up,
    /// On its way down.
    Stopping,
    /// Down.
    Stopped,
    /// Down, because it could not come up.
    Failed,
}

/// One process of the mesh.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PartState {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Where it listens.
    pub(crate) port: u16,
    /// The process, while there is one.
    pub(crate) process: Option<Identity>,
    /// How often it died and was started again.
    pub(crate) restarts: u32,
}

/// What a part is; also the order in which parts start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The database server.
    Postgres,
    /// The stream Redis.
    Redis,
    /// The Dapr sidecar of a service.
    Sidecar,
    /// A service.
    Service,
    /// The trade, which writes like any client.
    Trade,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Sidecar => "sidecar",
            Self::Service => "service",
            Self::Trade => "trade",
        })
    }
}

impl State {
    /// The last state that a supervisor of this home wrote.
    pub(crate) fn read(home: &Home) -> Result<Option<Self>> {
        home::read(&home.state_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_names_service_name_and_value() {
        let set: SetSetting = "search-indexer.RUST_LOG=inbox=debug".parse().unwrap();
        assert_eq!(
            (set.service.as_str(), set.name.as_str(), set.value.as_str()),
            ("search-indexer", "RUST_LOG", "inbox=debug")
        );
        assert!("nobody.A=b".parse::<SetSetting>().is_err());
        assert!("catalog".parse::<SetSetting>().is_err());
    }

    #[test]
    fn a_way_names_who_asks_whom_and_where() {
        let via: Via = "gateway:gateway-sidecar.http=4711".parse().unwrap();
        assert_eq!(
            (via.from.as_str(), via.to.as_str(), via.port),
            ("gateway", "gateway-sidecar.http", 4711)
        );
        assert!("gateway=4711".parse::<Via>().is_err());
        assert!("gateway:postgres=x".parse::<Via>().is_err());
    }
}
