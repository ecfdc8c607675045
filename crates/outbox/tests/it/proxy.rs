//! A wire to the database that can be frozen, made deaf or cut.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use testkit::Database;

/// A TCP proxy in front of the server of a test's database.
pub(crate) struct Proxy {
    url: String,
    wire: watch::Sender<Wire>,
    requests: Arc<AtomicUsize>,
    _running: JoinSet<()>,
}

/// What becomes of bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// They arrive.
    Open,
    /// They wait, in both directions.
    Frozen,
    /// Requests arrive, answers wait.
    Deaf,
    /// The connections end.
    Cut,
}

impl Proxy {
    pub(crate) async fn before(database: &Database) -> anyhow::Result<Self> {
        let url = database.url();
        let config = tokio_postgres::Config::from_str(&url)?;
        let server = format!("127.0.0.1:{}", config.get_ports()[0]);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = url.replace(&server, &listener.local_addr()?.to_string());
        let wire = watch::Sender::new(Wire::Open);
        let requests = Arc::<AtomicUsize>::default();
        let (sender, counter) = (wire.clone(), Arc::clone(&requests));
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let counter = Arc::clone(&counter);
                let count = move || {
                    counter.fetch_add(1, Ordering::Relaxed);
                };
                let lets = |wire| matches!(wire, Wire::Open | Wire::Deaf);
                wires.spawn(pump(from_client, to_server, sender.subscribe(), lets, count));
                let lets = |wire| wire == Wire::Open;
                wires.spawn(pump(from_server, to_client, sender.subscribe(), lets, || {}));
            }
        });
        Ok(Self { url, wire, requests, _running: running })
    }

    /// The database's URL through the wire.
    pub(crate) fn url(&self) -> SecretString {
        self.url.clone().into()
    }

    pub(crate) fn turn(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }

    /// How often something was asked so far: round trips, or less where several were sent at once.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
    lets: impl Fn(Wire) -> bool,
    count: impl Fn(),
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = wire.wait_for(|wire| *wire == Wire::Cut) => 0,
        };
        if read == 0 {
            return;
        }
        let ended = wire.wait_for(|wire| lets(*wire) || *wire == Wire::Cut).await;
        if !ended.is_ok_and(|wire| *wire != Wire::Cut) {
            return;
        }
        count();
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
