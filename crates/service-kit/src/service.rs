//! A running service: starts telemetry first, serves, and ends everything in order.

use std::time::{Duration, Instant};

use axum::Router;
use contracts::Topic;
use deadpool_postgres::Pool;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Database, Error, Readiness, Tasks, app, files, pool,
    probes::Probes,
    server::{Limits, Server},
    telemetry::Telemetry,
};

/// What tasks have at least for their end, where requests took all the time there was.
const TASKS_LEAST: Duration = Duration::from_secs(2);

/// A service between its start and its end.
///
/// The end comes with SIGTERM, SIGINT or the failure of a task, and always in this order: not
/// ready, no new connections, requests in work finish, tasks end, telemetry is sent. Tasks thus
/// still run while the last requests are answered.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    config: Config,
    telemetry: Telemetry,
    probes: Probes,
    tasks: Tasks,
    stop: CancellationToken,
}

impl Service {
    /// Starts telemetry; must be called inside a tokio runtime.
    pub fn start(name: &'static str, config: &Config) -> Result<Self, Error> {
        config.check()?;
        files::allow(config.http_connections_max)?;
        let telemetry = Telemetry::start(name, &config.telemetry)?;
        let probes = Probes::new(name, telemetry.registry());
        let (tasks, stop) = (Tasks::default(), CancellationToken::new());
        Ok(Self { name, config: config.clone(), telemetry, probes, tasks, stop })
    }

    /// The service's name, also its app-id.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Opens the pool of the service's own database and makes readiness depend on it.
    pub async fn pool(&self, database: &Database) -> Result<Pool, Error> {
        let pool = pool::open(self.name, &self.config, database).await?;
        let watched = pool.clone();
        self.ready_when("database", move || pool::ping(watched.clone()));
        Ok(pool)
    }

    /// Where background work is started.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Fires when tasks should end: after the last request was answered.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Adds a named condition of readiness, asked at every `/readyz`.
    pub fn ready_when<F, Fut>(&self, name: &'static str, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<Readiness>,
    {
        self.probes.add(name, check);
    }

    /// `GET /sync/status` for a service that neither relays nor follows, with the topics it owns;
    /// relay and inbox bring their own.
    pub fn status(&self, topics: &[Topic]) -> Router {
        self.probes.clone().status(topics)
    }

    /// These routes with the probes and all layers, as they are served.
    pub fn app(&self, routes: Router) -> Router {
        let probes = self.probes.clone().routes();
        app::layered(self.name, &self.config, &self.telemetry.meter(), routes, probes)
    }

    /// Serves on the address of the settings until the end; an error if a task failed, which is
    /// logged when it does.
    pub async fn serve(self, routes: Router) -> Result<(), Error> {
        let address = self.config.listen;
        let listener =
            TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        self.serve_on(listener, routes).await
    }

    /// Serves on a socket that is already bound.
    pub async fn serve_on(self, listener: TcpListener, routes: Router) -> Result<(), Error> {
        let mut signals = Signals::new().map_err(Error::Signals)?;
        let address = listener.local_addr().map_err(Error::Signals)?;
        let limits = Limits {
            connections_max: self.config.http_connections_max.max(1),
            first_head_max: Duration::from_millis(self.config.http_first_head_ms_max),
            idle_max: Duration::from_millis(self.config.http_idle_ms_max),
        };
        let mut server = Server::new(self.app(routes), limits);
        self.probes.open();
        tracing::info!(address = %address, "{} listens on {address}", self.name);
        server.accept(listener, self.leave(&mut signals)).await;

        let outcome = tokio::select! {
            outcome = self.finish(server) => outcome,
            signal = signals.next() => {
                tracing::warn!("ending at once: {signal} came a second time");
                Ok(())
            }
        };
        if outcome.is_ok() {
            tracing::info!("{} has ended", self.name);
        }
        self.telemetry.shutdown().await;
        outcome
    }

    /// Done when it is time to refuse new connections.
    async fn leave(&self, signals: &mut Signals) {
        tokio::select! {
            signal = signals.next() => tracing::info!("ending: {signal} came"),
            () = self.tasks.failed() => tracing::info!("ending: a task failed"),
            () = self.stop.cancelled() => tracing::info!("ending: the service asked for it"),
        }
        self.probes.close();
        tokio::time::sleep(Duration::from_millis(self.config.shutdown_delay_ms)).await;
    }

    async fn finish(&self, server: Server) -> Result<(), Error> {
        let deadline = Instant::now() + self.config.shutdown_limit();
        server.drain(self.config.shutdown_limit()).await;
        self.stop.cancel();
        let left = deadline.saturating_duration_since(Instant::now());
        self.tasks.finish(left.max(TASKS_LEAST)).await
    }
}

/// The two signals that end a service.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
