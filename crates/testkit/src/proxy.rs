//! A proxy before the database that counts round trips and can swallow an answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

/// Answers are held back for so long that everything which does not wait for them is sent before.
const DELAY: Duration = Duration::from_millis(25);

/// Counts how often a client sends after it was answered: its round trips.
#[derive(Debug, Clone, Default)]
struct Counter {
    trips: Arc<AtomicU32>,
    sending: Arc<AtomicBool>,
    cut_at: Arc<AtomicU32>,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    counter: Counter,
    url: String,
    _running: JoinSet<()>,
}

impl Proxy {
    /// Stands before the database of this URL.
    pub async fn start(url: &str) -> anyhow::Result<Self> {
        let (_, rest) = url.rsplit_once('@').unwrap_or(("", url));
        let server = rest.split('/').next().unwrap_or_default().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = url.replace(&server, &listener.local_addr()?.to_string());
        let counter = Counter::default();
        let mut running = JoinSet::new();
        running.spawn(pass_on(counter.clone(), listener, server));
        Ok(Self { counter, url, _running: running })
    }

    /// The database's URL through the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Round trips since the last call.
    pub fn take(&self) -> u32 {
        self.counter.trips.swap(0, Ordering::SeqCst)
    }

    /// Cuts each connection instead of passing on the answer of this round trip, counted from now;
    /// 0 ends it.
    pub fn cut_at(&self, trip: u32) {
        self.take();
        self.counter.cut_at.store(trip, Ordering::SeqCst);
    }
}

impl Counter {
    fn sent(&self) {
        if !self.sending.swap(true, Ordering::SeqCst) {
            self.trips.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn answered(&self) {
        self.sending.store(false, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        let cut_at = self.cut_at.load(Ordering::SeqCst);
        cut_at > 0 && self.trips.load(Ordering::SeqCst) >= cut_at
    }
}

async fn pass_on(counter: Counter, listener: TcpListener, server: String) {
    let mut pumps = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(&server).await.expect("the database answers");
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        pumps.spawn(requests(counter.clone(), from_client, to_server));
        pumps.spawn(answers(counter.clone(), from_server, to_client));
    }
}

async fn requests(counter: Counter, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        counter.sent();
        if to.write_all(bytes.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}

async fn answers(counter: Counter, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        tokio::time::sleep(DELAY).await;
        counter.answered();
        if counter.is_cut() || to.write_all(bytes.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}
