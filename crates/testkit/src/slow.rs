//! Callers that dawdle: connections that are open and say next to nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::within;

/// Between two bytes of one connection.
const BYTE_PAUSE: Duration = Duration::from_secs(3);
/// Before a connection that was closed is opened again: from this on, spread over a second, since
/// what was opened at one time is closed at one time.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);
/// So many are opened at one time, so that no listener's queue overflows.
const BURST: usize = 100;
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// Besides the connections a test has files, databases and its runtime open.
const OTHER_FILES: u64 = 500;

/// Slow connections to one listener; those that are closed come again. All end with this value.
#[derive(Debug)]
pub struct Slow {
    _tasks: JoinSet<()>,
    open: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
}

/// What a slow caller says before it falls nearly silent.
#[derive(Debug, Clone)]
pub enum Manner {
    /// Nothing.
    Silent,
    /// Half a head, and a byte more of it now and then.
    Head,
    /// A whole head of `PUT` to this path, and half of the body that it promises.
    Body(String),
}

impl Slow {
    /// Opens so many connections, of these manners in turn, and waits until nearly all are open.
    pub async fn open(
        address: SocketAddr,
        count: usize,
        manners: &[Manner],
    ) -> anyhow::Result<Self> {
        let (open, opened) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = JoinSet::new();
        for (number, manner) in (0..count).zip(manners.iter().cycle()) {
            let manner = manner.clone();
            let counts = [Arc::clone(&open), Arc::clone(&opened)];
            tasks.spawn(async move {
                loop {
                    // Whatever ends it, it comes again.
                    let _ = dawdle(address, &manner, &counts).await;
                    let spread = Duration::from_millis((number % 100) as u64 * 10);
                    tokio::time::sleep(REOPEN_PAUSE + spread).await;
                }
            });
            if number % BURST == BURST - 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let slow = Self { _tasks: tasks, open, opened };
        let enough = count - count / 10;
        let what = format!("{enough} slow connections are open");
        within(OPEN_TIMEOUT, &what, async || Ok(slow.count() >= enough)).await;
        Ok(slow)
    }

    /// How many are open now.
    pub fn count(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many have been opened so far, those that were closed since among them.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

/// Allows this process to hold so many connections open; fails with the limit that is in the way.
pub fn allow_connections(count: u64) -> anyhow::Result<()> {
    let needed = count + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "this test opens {needed} files, and the limit is {maximum:?}: raise it, `ulimit -Hn`"
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .context("raise the limit of open files")
}

async fn dawdle(
    address: SocketAddr,
    manner: &Manner,
    [open, opened]: &[Arc<AtomicUsize>; 2],
) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    opened.fetch_add(1, Ordering::SeqCst);
    let _open = Counted::new(open);
    match manner {
        Manner::Silent => {}
        Manner::Head => stream.write_all(b"GET /healthz HTTP/1.1\r\nx-slow: ").await?,
        Manner::Body(path) => {
            let head = format!(
                "PUT {path} HTTP/1.1\r\nhost: slow\r\ncontent-type: application/json\r\n\
                 content-length: 1000\r\n\r\n{{\"name\": \""
            );
            stream.write_all(head.as_bytes()).await?;
        }
    }
    let mut answer = [0; 512];
    loop {
        tokio::select! {
            // A server may speak first, or say why it closes.
            read = stream.read(&mut answer) => if read? == 0 { return Ok(()) },
            () = tokio::time::sleep(BYTE_PAUSE) => {}
        }
        if matches!(manner, Manner::Head) {
            stream.write_all(b"x").await?;
        }
    }
}

/// One more, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
