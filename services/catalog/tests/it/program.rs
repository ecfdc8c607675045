//! The program as a supervisor runs it.

use std::process::{Child, Command, Stdio};

use testkit::Database;

use crate::world::service_url;

fn catalog() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_catalog"));
    command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The program over a migrated database; killed when this is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    port: u16,
}

impl Running {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(database: &Database) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = catalog()
            .env("DATABASE_URL", service_url(&database.url()))
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .env("LOG_FILTER", "warn")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let running = Self { child, port };
        testkit::eventually("catalog is ready", || async {
            Ok(reqwest::get(running.url("/readyz")).await?.status().is_success())
        })
        .await;
        Ok(running)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_migrates_serves_and_ends_on_sigterm() -> anyhow::Result<()> {
    let database = Database::create("catalog").await?;
    for _ in 0..2 {
        let migrated = catalog().arg("migrate").env("DATABASE_URL", database.url()).output()?;
        assert!(migrated.status.success(), "{migrated:?}");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut child = catalog()
        .env("DATABASE_URL", service_url(&database.url()))
        .env("LISTEN", format!("127.0.0.1:{port}"))
        .spawn()?;
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    testkit::eventually("catalog is ready", || async {
        Ok(reqwest::get(url("/readyz?verbose")).await?.status().is_success())
    })
    .await;
    let put = reqwest::Client::new().put(url("/api/v1/products/a"));
    let body = serde_json::json!({"name": "a", "categories": [], "attributes": {}});
    assert_eq!(put.json(&body).send().await?.status(), 201);
    let status: serde_json::Value = reqwest::get(url("/sync/status")).await?.json().await?;
    assert_eq!(status["ready"], true);
    assert_eq!(status["topics"][0]["topic"], "catalog.products");

    let term = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    assert!(term.success());
    testkit::eventually("catalog has ended", || {
        let ended = child.try_wait();
        async move { Ok(ended?.is_some()) }
    })
    .await;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{output:?}");
    let log = String::from_utf8(output.stdout)?;
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line)?;
    }
    Ok(())
}

#[test]
fn help_names_every_setting_and_needs_none() -> anyhow::Result<()> {
    let help = catalog().arg("--help").output()?;
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout)?;
    for word in ["DATABASE_URL", "127.0.0.1:8081", "migrate", "openapi"] {
        assert!(help.contains(word), "{help}");
    }
    Ok(())
}

#[test]
fn it_prints_its_document_without_any_setting() -> anyhow::Result<()> {
    let printed = catalog().arg("openapi").output()?;
    assert!(printed.status.success(), "{printed:?}");
    let document: serde_json::Value = serde_json::from_slice(&printed.stdout)?;
    assert!(document["paths"]["/api/v1/products/{sku}"].is_object());
    Ok(())
}

#[test]
fn without_a_database_it_says_what_is_missing() -> anyhow::Result<()> {
    let failed = catalog().env("LISTEN", "127.0.0.1:0").output()?;
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stderr)?;
    assert_eq!(said, "catalog: find database: DATABASE_URL is not set\n");
    let failed = catalog().arg("--nonsense").output()?;
    assert_eq!(failed.status.code(), Some(2));
    Ok(())
}
