//! Which port each part listens on: the documented one if it is free, the one of last time if not.
//!
//! Between choosing a port and listening on it another mesh could choose the same; so each mesh
//! holds a lock on a small file for each of its ports as long as it runs.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    hash::{BuildHasher as _, RandomState},
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::{
    mesh::{DOCUMENTED_PORTS, SERVICES, Transport},
    redis::Use,
};

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

/// Where meshes of all users of this machine say which ports they took.
const CLAIMS: &str = "/tmp/syncline-ports";

/// Ports that are ours as long as this value is kept.
#[derive(Debug)]
pub(crate) struct Allotted {
    /// By the name of what listens there.
    pub(crate) ports: Ports,
    claims: Vec<File>,
    next: u16,
}

/// Gives every part its ports; `kept` are those of the last start, `offset` moves the documented.
pub(crate) fn allot(transport: Transport, offset: u16, kept: &Ports) -> Result<Allotted> {
    let mut allotted = Allotted { ports: Ports::new(), claims: Vec::new(), next: somewhere() };
    DOCUMENTED_PORTS.end().checked_add(offset).context("the port offset is too large")?;
    for service in SERVICES {
        allotted.claim(service.name, service.port + offset);
    }
    for service in SERVICES {
        allotted.next_documented(service.name, service.port + offset, offset)?;
    }
    allotted.quiet("postgres", kept)?;
    for usage in Use::of(transport) {
        allotted.quiet(usage.part(), kept)?;
    }
    if transport == Transport::Dapr {
        for service in SERVICES {
            for which in SIDECAR_PORTS {
                allotted.quiet(&of_sidecar(&service.sidecar(), which), kept)?;
            }
        }
    }
    Ok(allotted)
}

impl Allotted {
    /// The next free port above a documented one that is taken.
    fn next_documented(&mut self, name: &str, wanted: u16, offset: u16) -> Result<()> {
        let documented = DOCUMENTED_PORTS.start() + offset..=DOCUMENTED_PORTS.end() + offset;
        let mut others = (wanted..=u16::MAX).filter(|port| !documented.contains(port));
        if self.ports.contains_key(name) || others.any(|port| self.claim(name, port)) {
            return Ok(());
        }
        anyhow::bail!("no port is free above {wanted}")
    }

    /// The port of last time, or any free one.
    fn quiet(&mut self, name: &str, kept: &Ports) -> Result<()> {
        if kept.get(name).is_some_and(|port| self.claim(name, *port)) {
            return Ok(());
        }
        for _ in QUIET_PORTS {
            let port = self.next;
            self.next = if port + 1 < QUIET_PORTS.end { port + 1 } else { QUIET_PORTS.start };
            if self.claim(name, port) {
                return Ok(());
            }
        }
        anyhow::bail!("no port is free for {name}")
    }

    /// Takes a port if nobody has it.
    fn claim(&mut self, name: &str, port: u16) -> bool {
        if self.ports.values().any(|taken| *taken == port) {
            return false;
        }
        let claim = claim(port);
        if matches!(claim, Claim::Taken) || !is_free(port) {
            return false;
        }
        if let Claim::Ours(file) = claim {
            self.claims.push(file);
        }
        self.ports.insert(name.to_owned(), port);
        true
    }
}

/// What became of a wish for a port.
enum Claim {
    /// Ours as long as the file is open.
    Ours(File),
    /// Another mesh has it.
    Taken,
    /// Nobody can say, since the files cannot be used here; the port may well be free.
    Unknown,
}

fn claim(port: u16) -> Claim {
    let Some(file) = claim_file(&Path::new(CLAIMS).join(port.to_string())) else {
        return Claim::Unknown;
    };
    match file.try_lock() {
        Ok(()) => Claim::Ours(file),
        Err(TryLockError::WouldBlock) => Claim::Taken,
        Err(TryLockError::Error(_)) => Claim::Unknown,
    }
}

/// Opens the file of a port, of whichever user it is; a lock needs no right to write.
fn claim_file(path: &Path) -> Option<File> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened.ok(),
    }
    if fs::create_dir(CLAIMS).is_ok() {
        // Like /tmp itself: everybody may add, nobody may remove what is another's.
        fs::set_permissions(CLAIMS, fs::Permissions::from_mode(0o1777)).ok()?;
    }
    match File::create_new(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => File::open(path).ok(),
        created => created.ok(),
    }
}

/// Whether nobody listens there.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Somewhere in the quiet range, so that two meshes that start at once hardly meet.
fn somewhere() -> u16 {
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
        assert_ne!(first.ports["catalog"], 8081 + offset);
        assert!(first.ports["catalog"] > DOCUMENTED_PORTS.end() + offset);
        let distinct: std::collections::BTreeSet<_> = first.ports.values().collect();
        assert_eq!(distinct.len(), first.ports.len());

        let kept = first.ports.clone();
        drop(first);
        let again = allot(Transport::Dapr, offset, &kept).unwrap();
        assert_eq!(again.ports["postgres"], kept["postgres"]);
        drop(blocker);
    }

    #[test]
    fn two_meshes_that_start_at_once_share_no_port() {
        let one = allot(Transport::Dapr, 13_000, &Ports::new()).unwrap();
        let two = allot(Transport::Dapr, 13_000, &one.ports).unwrap();
        assert!(two.ports.values().all(|port| !one.ports.values().any(|other| other == port)));
    }

    #[test]
    fn without_a_broker_there_is_no_port_for_one() {
        let allotted = allot(Transport::None, 14_000, &Ports::new()).unwrap();
        assert!(!allotted.ports.contains_key("redis"));
        assert_eq!(allotted.ports.len(), SERVICES.len() + 2, "PostgreSQL and the cache have one");
    }
}
