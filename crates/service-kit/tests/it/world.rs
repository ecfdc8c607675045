//! A service on a free port, inside the test.

use std::net::SocketAddr;

use axum::Router;
use clap::Parser as _;
use service_kit::{Config, Database, Error, Service};
use tokio::{net::TcpListener, task::JoinHandle};

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    service: Config,
    #[command(flatten)]
    database: Database,
}

/// Settings as the command line would give them, on any free port.
pub(crate) fn config(args: &[&str]) -> Config {
    settings(args).service
}

/// Those of the database.
pub(crate) fn database(args: &[&str]) -> Database {
    settings(args).database
}

fn settings(args: &[&str]) -> Settings {
    let args = ["test", "--listen", "127.0.0.1:0", "--log-filter", "off"].iter().chain(args);
    Settings::try_parse_from(args).expect("sound settings")
}

/// A service that serves, and the end of it.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) end: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Serves these routes until the test ends or the service does.
    pub(crate) async fn start(service: Service, routes: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        #[expect(clippy::disallowed_methods, reason = "the test holds the handle")]
        let end = tokio::spawn(service.serve_on(listener, routes));
        Self { address, end }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        reqwest::get(self.url(path)).await.expect("an answer")
    }
}
