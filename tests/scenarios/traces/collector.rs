//! Where traces are sent: a receiver that keeps them, and one that accepts and never answers.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use testkit::within;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// One span as it was sent; ids as hex.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    /// The traces that it is linked to.
    pub(crate) links: Vec<String>,
}

/// Receives traces by gRPC until it is dropped; then its port and every connection are closed.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    kept: Kept,
    /// Of its own, since a server leaves its open connections to the runtime.
    runtime: Option<Runtime>,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Span>>>);

impl Collector {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let (address, kept) = (listener.local_addr()?, Kept::default());
        let service = TraceServiceServer::new(kept.clone());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let incoming = {
            let _inside = runtime.enter();
            TcpIncoming::from(TcpListener::from_std(listener)?)
        };
        runtime.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Ok(Self { address, kept, runtime: Some(runtime) })
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn of_trace(&self, trace: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Exported = Result<Response<ExportTraceServiceResponse>, Status>;

impl TraceService for Kept {
    fn export<'a, 'b>(
        &'a self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Pin<Box<dyn Future<Output = Exported> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(request.into_inner().resource_spans.into_iter().flat_map(spans));
        Box::pin(async { Ok(Response::new(ExportTraceServiceResponse::default())) })
    }
}

fn spans(sent: ResourceSpans) -> Vec<Span> {
    let attributes = sent.resource.map(|resource| resource.attributes).unwrap_or_default();
    let service = attributes.into_iter().find(|attribute| attribute.key == "service.name");
    let service = match service.and_then(|attribute| attribute.value?.value) {
        Some(Value::StringValue(name)) => name,
        _ => String::new(),
    };
    let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans
        .map(|span| Span {
            service: service.clone(),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Accepts every connection, reads what is said, and never answers.
pub(crate) struct BlackHole {
    heard: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl BlackHole {
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Connections of the collector that stood here may not be forgotten yet.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(64)?;
        let (heard, mut tasks) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        let count = Arc::clone(&heard);
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                open.spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = connection.read(&mut buffer).await {
                        count.fetch_add(read, Ordering::Relaxed);
                    }
                });
            }
        });
        Ok(Self { heard, _tasks: tasks })
    }

    /// Proof that somebody really waits for it.
    pub(crate) async fn was_asked(&self) -> anyhow::Result<()> {
        within(Duration::from_secs(30), "spans are sent into the void", async || {
            ensure!(self.heard.load(Ordering::Relaxed) > 0, "nothing was said");
            Ok(true)
        })
        .await;
        Ok(())
    }
}
