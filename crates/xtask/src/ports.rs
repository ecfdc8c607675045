//! Which port each part listens on: the documented one if it is free, the one of last time if not.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
};

use anyhow::{Context as _, Result};

use crate::mesh::{DOCUMENTED_PORTS, SERVICES, Transport};

/// Ports by the name of what listens there.
pub(crate) type Ports = BTreeMap<String, u16>;

/// Where parts without a documented port listen: below the range from which the kernel takes the
/// near ends of connections, so that none is lost to one between two starts.
const QUIET_PORTS: std::ops::Range<u16> = 20_000..30_000;

/// The four ports of a sidecar.
pub(crate) const SIDECAR_PORTS: [&str; 4] = ["http", "grpc", "internal", "metrics"];

/// The name of one port of a sidecar.
pub(crate) fn of_sidecar(sidecar: &str, which: &str) -> String {
    format!("{sidecar}.{which}")
}

/// Gives every part its ports; `kept` are those of the last start, `offset` moves the documented.
pub(crate) fn allot(transport: Transport, offset: u16, kept: &Ports) -> Result<Ports> {
    let mut allotted = Allotted { ports: Ports::new(), kept, next: start_of_search() };
    for service in SERVICES {
        let wanted = service.port.checked_add(offset).context("the port offset is too large")?;
        if is_free(wanted) {
            allotted.ports.insert(service.name.to_owned(), wanted);
        }
    }
    for service in SERVICES {
        allotted.next_documented(service.name, service.port + offset, offset)?;
    }
    allotted.quiet("postgres")?;
    if transport == Transport::Dapr {
        allotted.quiet("redis")?;
        for service in SERVICES {
            for which in SIDECAR_PORTS {
                allotted.quiet(&of_sidecar(&service.sidecar(), which))?;
            }
        }
    }
    Ok(allotted.ports)
}

/// Ports given out so far.
struct Allotted<'a> {
    ports: Ports,
    kept: &'a Ports,
    next: u16,
}

impl Allotted<'_> {
    /// The next free port above a documented one that is taken.
    fn next_documented(&mut self, name: &str, wanted: u16, offset: u16) -> Result<()> {
        if self.ports.contains_key(name) {
            return Ok(());
        }
        let documented = DOCUMENTED_PORTS.start() + offset..=DOCUMENTED_PORTS.end() + offset;
        let port = (wanted..=u16::MAX)
            .find(|port| !documented.contains(port) && self.may_take(*port))
            .with_context(|| format!("no port is free above {wanted}"))?;
        self.ports.insert(name.to_owned(), port);
        Ok(())
    }

    /// The port of last time, or any free one.
    fn quiet(&mut self, name: &str) -> Result<()> {
        let last = self.kept.get(name).copied().filter(|port| self.may_take(*port));
        let port = match last {
            Some(port) => port,
            None => self.search().with_context(|| format!("no port is free for {name}"))?,
        };
        self.ports.insert(name.to_owned(), port);
        Ok(())
    }

    fn search(&mut self) -> Option<u16> {
        for _ in QUIET_PORTS {
            let port = self.next;
            self.next = if port + 1 < QUIET_PORTS.end { port + 1 } else { QUIET_PORTS.start };
            if self.may_take(port) {
                return Some(port);
            }
        }
        None
    }

    fn may_take(&self, port: u16) -> bool {
        !self.ports.values().any(|taken| *taken == port) && is_free(port)
    }
}

/// Whether nobody listens there.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Somewhere in the quiet range, so that two meshes that start at once hardly meet.
fn start_of_search() -> u16 {
    let range = u64::from(QUIET_PORTS.end - QUIET_PORTS.start);
    let chosen = u16::try_from(RandomState::new().hash_one(std::process::id()) % range);
    QUIET_PORTS.start + chosen.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_are_kept_and_leave_a_taken_one_alone() {
        let offset = 12_000;
        let blocker = TcpListener::bind((Ipv4Addr::LOCALHOST, 8081 + offset)).unwrap();
        let first = allot(Transport::Dapr, offset, &Ports::new()).unwrap();
        assert_ne!(first["catalog"], 8081 + offset);
        assert!(first["catalog"] > DOCUMENTED_PORTS.end() + offset);
        let distinct: std::collections::BTreeSet<_> = first.values().collect();
        assert_eq!(distinct.len(), first.len());

        let again = allot(Transport::Dapr, offset, &first).unwrap();
        assert_eq!(again["postgres"], first["postgres"]);
        drop(blocker);
    }

    #[test]
    fn without_a_broker_there_is_no_port_for_one() {
        let ports = allot(Transport::None, 13_000, &Ports::new()).unwrap();
        assert!(!ports.contains_key("redis"));
        assert_eq!(ports.len(), SERVICES.len() + 1);
    }
}
