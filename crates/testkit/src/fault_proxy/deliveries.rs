//! A proxy between a sidecar and its app: whole deliveries are refused, doubled or reordered.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, client, server};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Target, count};

/// A delivery that is held back passes alone if none follows on its path for so long.
const ALONE_AFTER: Duration = Duration::from_millis(300);

/// What happens to deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Deliveries {
    /// Each arrives once, in order.
    #[default]
    Pass,
    /// None arrives: the sidecar is answered 500.
    Refuse,
    /// Each arrives twice at once.
    Double,
    /// Of two on one path the second arrives first; the sidecar was told that the first had come.
    Reorder,
    /// Of two on one path the second arrives first, and each arrives twice at once.
    DoubleAndReorder,
}

/// What a proxy did with deliveries so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Deliveries that the sidecar made.
    pub received: u64,
    /// Those that the app never saw.
    pub refused: u64,
    /// Those that the app was sent twice.
    pub doubled: u64,
    /// Those that the app was sent after a later one on the same path.
    pub reordered: u64,
    /// Those that were held back and then passed alone.
    pub alone: u64,
    /// Those that the app did not answer.
    pub unanswered: u64,
}

#[derive(Debug, Default)]
struct Counters {
    received: AtomicU64,
    refused: AtomicU64,
    doubled: AtomicU64,
    reordered: AtomicU64,
    alone: AtomicU64,
    unanswered: AtomicU64,
}

type Answer = Response<Full<Bytes>>;
type Whole = Request<Full<Bytes>>;

/// A running proxy for deliveries over HTTP/1; gone with this value.
#[derive(Debug)]
pub struct DeliveryProxy {
    address: SocketAddr,
    mode: watch::Sender<Deliveries>,
    counters: Arc<Counters>,
    _running: JoinSet<()>,
}

impl DeliveryProxy {
    /// Listens on a port of its own; every POST below this path is a delivery, all else passes.
    pub async fn start(target: Target, below: &'static str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (mode, seen) = watch::channel(Deliveries::Pass);
        let (late, held) = mpsc::unbounded_channel();
        let counters = Arc::new(Counters::default());
        let way = Arc::new(Way {
            target,
            below,
            mode: seen,
            late,
            waiting: Mutex::default(),
            counters: Arc::clone(&counters),
        });
        let mut running = JoinSet::new();
        running.spawn(release(Arc::clone(&way), held));
        running.spawn(accept(listener, way));
        Ok(Self { address, mode, counters, _running: running })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this happens to deliveries.
    pub fn set(&self, mode: Deliveries) {
        self.mode.send_replace(mode);
    }

    /// What it did with deliveries so far.
    pub fn delivered(&self) -> Delivered {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Delivered {
            received: read(&self.counters.received),
            refused: read(&self.counters.refused),
            doubled: read(&self.counters.doubled),
            reordered: read(&self.counters.reordered),
            alone: read(&self.counters.alone),
            unanswered: read(&self.counters.unanswered),
        }
    }
}

/// A delivery that was held back, to be passed alone later if nothing follows it.
#[derive(Debug)]
struct Late {
    path: String,
    number: u64,
    at: Instant,
}

struct Way {
    target: Target,
    below: &'static str,
    mode: watch::Receiver<Deliveries>,
    late: mpsc::UnboundedSender<Late>,
    /// By path the delivery that is held back, with its number.
    waiting: Mutex<HashMap<String, (u64, Whole)>>,
    counters: Arc<Counters>,
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let way = Arc::clone(&way);
                connections.spawn(async move {
                    let take = service_fn(|request| take(&way, request));
                    // A sidecar that breaks off its connection ends nothing but that.
                    let served = server::conn::http1::Builder::new();
                    let _ = served.serve_connection(TokioIo::new(stream), take).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Passes on alone what nothing followed.
async fn release(way: Arc<Way>, mut held: mpsc::UnboundedReceiver<Late>) {
    while let Some(late) = held.recv().await {
        tokio::time::sleep_until(late.at + ALONE_AFTER).await;
        if let Some(first) = way.take_waiting(&late.path, Some(late.number)) {
            count(&way.counters.alone, 1);
            let _ = way.deliver(first).await;
        }
    }
}

async fn take(way: &Way, request: Request<Incoming>) -> anyhow::Result<Answer> {
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, Full::new(body.collect().await?.to_bytes()));
    if request.method() != Method::POST || !request.uri().path().starts_with(way.below) {
        return send(way, request).await;
    }
    let number = way.counters.received.fetch_add(1, Ordering::SeqCst);
    // Not kept over an await: it would keep the mode from being changed.
    let mode = *way.mode.borrow();
    match mode {
        Deliveries::Pass | Deliveries::Double => way.deliver(request).await,
        Deliveries::Refuse => {
            count(&way.counters.refused, 1);
            status(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Deliveries::Reorder | Deliveries::DoubleAndReorder => way.reorder(request, number).await,
    }
}

impl Way {
    /// Holds the first of two back and says that it had arrived; the second arrives before it.
    async fn reorder(&self, request: Whole, number: u64) -> anyhow::Result<Answer> {
        let path = request.uri().path().to_owned();
        let Some(first) = self.take_waiting(&path, None) else {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.insert(path.clone(), (number, request));
            let _ = self.late.send(Late { path, number, at: Instant::now() });
            return status(StatusCode::OK);
        };
        let answer = self.deliver(request).await;
        count(&self.counters.reordered, 1);
        let _ = self.deliver(first).await;
        answer
    }

    /// The delivery that is held back on a path, if it is this one.
    fn take_waiting(&self, path: &str, number: Option<u64>) -> Option<Whole> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, _) = waiting.get(path)?;
        if number.is_some_and(|number| number != *held) {
            return None;
        }
        waiting.remove(path).map(|(_, request)| request)
    }

    async fn deliver(&self, request: Whole) -> anyhow::Result<Answer> {
        let mode = *self.mode.borrow();
        let answer = if matches!(mode, Deliveries::Double | Deliveries::DoubleAndReorder) {
            count(&self.counters.doubled, 1);
            let (one, other) = tokio::join!(send(self, request.clone()), send(self, request));
            one.and(other)
        } else {
            send(self, request).await
        };
        if answer.is_err() {
            count(&self.counters.unanswered, 1);
            return status(StatusCode::BAD_GATEWAY);
        }
        answer
    }
}

/// Sends one request to the app, over a connection of its own.
async fn send(way: &Way, request: Whole) -> anyhow::Result<Answer> {
    let stream = TcpStream::connect((way.target)()?).await.context("connect to the app")?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        anyhow::Ok(Response::from_parts(head, Full::new(body)))
    };
    tokio::pin!(connection, answered);
    tokio::select! {
        answer = &mut answered => answer,
        ended = &mut connection => {
            ended?;
            answered.await
        }
    }
}

fn status(status: StatusCode) -> anyhow::Result<Answer> {
    Ok(Response::builder().status(status).body(Full::default())?)
}
