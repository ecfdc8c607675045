//! The accept loop: bounded connections, bounded silence, and an orderly end.

use std::{io, time::Duration};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::{ServiceExt as _, service_fn};

use crate::connections::{Connection, Connections};

/// Most bytes of a request head; twice what a sidecar passes on. Those who send heads and no end of
/// them hold so much each.
const HEAD_BYTES_MAX: usize = 128 << 10;

/// Limits on connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections_max: usize,
    pub(crate) first_head_max: Duration,
    pub(crate) idle_max: Duration,
}

/// Open connections of one listener.
pub(crate) struct Server {
    app: Router,
    limits: Limits,
    connections: Connections,
    graceful: GracefulShutdown,
    tasks: JoinSet<()>,
}

impl Server {
    pub(crate) fn new(app: Router, limits: Limits) -> Self {
        Self {
            app,
            limits,
            connections: Connections::new(limits.connections_max),
            graceful: GracefulShutdown::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Accepts until `stop` is done; then the listener is closed.
    pub(crate) async fn accept(&mut self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    self.refused(&error).await;
                    continue;
                }
            };
            let (connection, place) = tokio::select! {
                () = &mut stop => return,
                placed = self.connections.place() => placed,
            };
            let served = self.serve(stream, connection);
            self.tasks.spawn(async move {
                served.await;
                drop(place);
            });
            while self.tasks.try_join_next().is_some() {}
        }
    }

    /// Lets requests in work finish; what is still open at the limit is cut.
    pub(crate) async fn drain(mut self, limit: Duration) {
        if tokio::time::timeout(limit, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(open = self.tasks.len(), "cutting connections: not done in time");
        }
        self.tasks.shutdown().await;
    }

    fn serve(
        &self,
        stream: TcpStream,
        connection: Connection,
    ) -> impl Future<Output = ()> + Send + 'static {
        // Answers are small: waiting to fill a packet would only add delay.
        let _ = stream.set_nodelay(true);
        let (app, asked) = (self.app.clone(), connection.clone());
        let app = service_fn(move |request: hyper::Request<Incoming>| {
            let (app, asked) = (app.clone(), asked.clone());
            async move {
                let _work = asked.work();
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(asked.clone());
                app.oneshot(request).await
            }
        });
        let watched = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle_max)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
        let watched = self.graceful.watch(watched);
        let first_head_max = self.limits.first_head_max;
        async move {
            let ended = tokio::select! {
                ended = watched => ended,
                () = connection.closed(first_head_max) => return,
            };
            if let Err(error) = ended {
                tracing::debug!(error = contracts::chain(&error), "a connection broke off");
            }
        }
    }

    /// Out of file handles is the usual reason: a silent connection gives one back, and trying
    /// again at once would only burn the processor.
    async fn refused(&self, error: &io::Error) {
        let passing = [io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted];
        if !passing.contains(&error.kind()) {
            tracing::warn!(error = %error, "could not accept a connection");
            self.connections.make_room();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
