//! A proxy on whose way faults lie, switched while it runs; it counts what each of them did.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

mod deliveries;

pub use deliveries::{Delivered, Deliveries, DeliveryProxy};

/// Where a proxy leads; asked for each connection, since it may be known only later.
pub type Target = Arc<dyn Fn() -> anyhow::Result<SocketAddr> + Send + Sync>;

/// Leads to one address for ever.
pub fn target(address: SocketAddr) -> Target {
    Arc::new(move || Ok(address))
}

/// What lies on the way, in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    Nothing,
    /// Each piece arrives later, by `delay` and up to `jitter` more; the next one waits behind it.
    Latency {
        /// At least so much later.
        delay: Duration,
        /// At most so much more.
        jitter: Duration,
    },
    /// Connections end, and new ones end at once.
    Cut,
    /// Connections are taken and kept, and nothing passes: what is sent arrives when this ends.
    HalfOpen,
    /// So many bytes a second in each direction.
    Bandwidth(u32),
    /// Connections are reset (RST), and new ones at once.
    Reset,
    /// Everything arrives in pieces of so many bytes, a millisecond apart.
    Slices(usize),
}

/// What the faults of a proxy did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bites {
    /// Connections that were passed on to the target.
    pub connections: u64,
    /// Connections that were ended or reset while they were in use.
    pub broken: u64,
    /// Connections that were ended or reset at their start.
    pub refused: u64,
    /// Pieces that came later.
    pub delayed: u64,
    /// Connections and pieces that were held.
    pub held: u64,
    /// Bytes that waited for the bandwidth.
    pub throttled: u64,
    /// Pieces that were cut out of larger ones.
    pub sliced: u64,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    broken: AtomicU64,
    refused: AtomicU64,
    delayed: AtomicU64,
    held: AtomicU64,
    throttled: AtomicU64,
    sliced: AtomicU64,
}

/// A running proxy for TCP; gone with this value, with all its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    counters: Arc<Counters>,
    _running: JoinSet<()>,
}

impl FaultProxy {
    /// Listens on a port of its own.
    pub async fn start(target: Target) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (fault, seen) = watch::channel(Fault::Nothing);
        let counters = Arc::new(Counters::default());
        let way = Way { fault: seen, counters: Arc::clone(&counters) };
        let mut running = JoinSet::new();
        running.spawn(accept(listener, target, way));
        Ok(Self { address, fault, counters, _running: running })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this lies on the way, also of connections that are there.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// What its faults did so far.
    pub fn bites(&self) -> Bites {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Bites {
            connections: read(&self.counters.connections),
            broken: read(&self.counters.broken),
            refused: read(&self.counters.refused),
            delayed: read(&self.counters.delayed),
            held: read(&self.counters.held),
            throttled: read(&self.counters.throttled),
            sliced: read(&self.counters.sliced),
        }
    }
}

/// What a connection sees of the proxy.
#[derive(Debug, Clone)]
struct Way {
    fault: watch::Receiver<Fault>,
    counters: Arc<Counters>,
}

async fn accept(listener: TcpListener, target: Target, way: Way) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(serve(client, Arc::clone(&target), way.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(client: TcpStream, target: Target, mut way: Way) {
    if *way.fault.borrow_and_update() == Fault::HalfOpen {
        count(&way.counters.held, 1);
        if way.fault.wait_for(|fault| *fault != Fault::HalfOpen).await.is_err() {
            return;
        }
    }
    let now = *way.fault.borrow_and_update();
    if matches!(now, Fault::Cut | Fault::Reset) {
        count(&way.counters.refused, 1);
        return end(&client, now);
    }
    // A target that is not there is a connection that ends at once, as it were without a proxy.
    let Ok(address) = target() else { return };
    let Ok(server) = TcpStream::connect(address).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    count(&way.counters.connections, 1);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let breaking = {
        let mut fault = way.fault.clone();
        async move {
            match fault.wait_for(|fault| matches!(fault, Fault::Cut | Fault::Reset)).await {
                Ok(fault) => *fault,
                Err(_) => Fault::Cut,
            }
        }
    };
    let mut pumps = Pumps { up: (from_client, to_server), down: (from_server, to_client) };
    let broken = tokio::select! {
        fault = breaking => Some(fault),
        () = pumps.run(&way) => None,
    };
    if let Some(fault) = broken {
        count(&way.counters.broken, 1);
        end(pumps.up.0.as_ref(), fault);
        end(pumps.down.0.as_ref(), fault);
        // Dropped, a half would say that it ends in order.
        pumps.up.1.forget();
        pumps.down.1.forget();
    }
}

/// Both directions of a connection; kept outside of what is broken off, so that it can be reset.
struct Pumps {
    up: (OwnedReadHalf, OwnedWriteHalf),
    down: (OwnedReadHalf, OwnedWriteHalf),
}

impl Pumps {
    async fn run(&mut self, way: &Way) {
        let up = pump(&mut self.up.0, &mut self.up.1, way.clone());
        let down = pump(&mut self.down.0, &mut self.down.1, way.clone());
        tokio::join!(up, down);
    }
}

/// What follows when the stream is dropped: an end, or a reset.
fn end(stream: &TcpStream, fault: Fault) {
    if fault == Fault::Reset {
        // Where it fails the other side has gone already.
        let _ = stream.set_zero_linger();
    }
}

async fn pump(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, mut way: Way) {
    let mut bytes = vec![0; 1 << 14];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if way.pass(bytes.get(..read).unwrap_or_default(), to).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

impl Way {
    async fn pass(&mut self, bytes: &[u8], to: &mut OwnedWriteHalf) -> io::Result<()> {
        loop {
            let now = *self.fault.borrow_and_update();
            return match now {
                Fault::HalfOpen => {
                    count(&self.counters.held, 1);
                    let opened = self.fault.wait_for(|fault| *fault != Fault::HalfOpen).await;
                    opened.map_err(|_| io::ErrorKind::ConnectionAborted)?;
                    continue;
                }
                Fault::Latency { delay, jitter } => {
                    tokio::time::sleep(delay + some_of(jitter)).await;
                    count(&self.counters.delayed, 1);
                    to.write_all(bytes).await
                }
                Fault::Bandwidth(rate) => self.throttle(bytes, rate, to).await,
                Fault::Slices(size) => self.slice(bytes, size, to).await,
                // The connection is being broken off beside this.
                Fault::Nothing | Fault::Cut | Fault::Reset => to.write_all(bytes).await,
            };
        }
    }

    async fn throttle(&self, bytes: &[u8], rate: u32, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let rate = f64::from(rate.max(1));
        for piece in bytes.chunks(1 << 10) {
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            tokio::time::sleep(Duration::from_secs_f64(f64::from(length) / rate)).await;
            to.write_all(piece).await?;
            count(&self.counters.throttled, u64::from(length));
        }
        Ok(())
    }

    async fn slice(&self, bytes: &[u8], size: usize, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let mut pieces = bytes.chunks(size.max(1)).peekable();
        while let Some(piece) = pieces.next() {
            to.write_all(piece).await?;
            if pieces.peek().is_some() {
                count(&self.counters.sliced, 1);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(())
    }
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::SeqCst);
}

/// Any part of a duration.
fn some_of(whole: Duration) -> Duration {
    let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(RandomState::new().hash_one(()) % micros.saturating_add(1))
}

#[cfg(test)]
mod tests;
