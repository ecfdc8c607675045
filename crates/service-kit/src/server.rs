//! The accept loop: bounded connections, bounded silence, and an orderly end.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tower::ServiceExt as _;

/// Limits on connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections_max: usize,
    pub(crate) idle_max: Duration,
}

/// Open connections of one listener.
pub(crate) struct Server {
    app: Router,
    limits: Limits,
    permits: Arc<Semaphore>,
    graceful: GracefulShutdown,
    connections: JoinSet<()>,
}

impl Server {
    pub(crate) fn new(app: Router, limits: Limits) -> Self {
        Self {
            app,
            limits,
            permits: Arc::new(Semaphore::new(limits.connections_max)),
            graceful: GracefulShutdown::new(),
            connections: JoinSet::new(),
        }
    }

    /// Accepts until `stop` is done; then the listener is closed.
    pub(crate) async fn accept(&mut self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let permit = tokio::select! {
                () = &mut stop => return,
                permit = Arc::clone(&self.permits).acquire_owned() => permit,
            };
            let permit = permit.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                () = &mut stop => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = self.connection(stream);
                    self.connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => refused(&error).await,
            }
            while self.connections.try_join_next().is_some() {}
        }
    }

    /// Lets requests in work finish; what is still open at the limit is cut.
    pub(crate) async fn drain(mut self, limit: Duration) {
        if tokio::time::timeout(limit, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(open = self.connections.len(), "cutting connections: not done in time");
        }
        self.connections.shutdown().await;
    }

    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + 'static {
        // Answers are small: waiting to fill a packet would only add delay.
        let _ = stream.set_nodelay(true);
        let app = self
            .app
            .clone()
            .map_request(|request: hyper::Request<Incoming>| request.map(Body::new));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle_max)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
        let watched = self.graceful.watch(connection);
        async move {
            if let Err(error) = watched.await {
                tracing::debug!(error = crate::error::chain(&error), "a connection broke off");
            }
        }
    }
}

/// Out of file handles is the usual reason; trying again at once would only burn the processor.
async fn refused(error: &io::Error) {
    let passing = [io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted];
    if !passing.contains(&error.kind()) {
        tracing::warn!(error = %error, "could not accept a connection");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
