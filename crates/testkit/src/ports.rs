//! Ports for servers that a test starts as processes of their own.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context as _;

/// Below the range from which the kernel takes the near ends of connections, of which the tests
/// beside make many, so that no port is lost to one before its server listens, or between two
/// starts; and apart from the range of the local runner.
const QUIET_PORTS: std::ops::Range<u16> = 10_000..20_000;
const TRIES_MAX: u32 = 1_000;

/// Ports of 127.0.0.1 on which nobody listens now, chosen at random.
///
/// Tests that choose at once hardly meet, yet they may: a server that ends at its start met
/// another.
pub fn quiet_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut ports = [0; N];
    // Kept to the end, so that all are different.
    let mut listeners = Vec::new();
    for port in &mut ports {
        let mut tries =
            (0..TRIES_MAX).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, anywhere())));
        let listener = tries.find_map(Result::ok).context("no quiet port is free")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

fn anywhere() -> u16 {
    let range = u64::from(QUIET_PORTS.end - QUIET_PORTS.start);
    let chosen = u16::try_from(RandomState::new().hash_one(()) % range);
    QUIET_PORTS.start + chosen.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_none_that_a_connection_may_get() -> anyhow::Result<()> {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
        let first: u16 = range.split_whitespace().next().context("a range")?.parse()?;
        let mut ports = quiet_ports::<8>()?;
        assert!(ports.iter().all(|port| *port < first), "{ports:?} from {first} on");
        ports.sort_unstable();
        assert!(ports.windows(2).all(|two| two.first() != two.last()), "{ports:?}");
        Ok(())
    }
}
