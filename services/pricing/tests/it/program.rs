//! The program as a supervisor runs it.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use chrono::Utc;
use serde_json::{Value, json};
use testkit::{Database, eventually};

use crate::world::service_url;

fn pricing() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pricing"));
    command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running program, and where it listens. Nobody answers for the catalog, so it is never ready.
fn start(database: &Database) -> anyhow::Result<(Child, String)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let child = pricing()
        .env("DATABASE_URL", service_url(&database.url()))
        .env("LISTEN", format!("127.0.0.1:{port}"))
        .env("TRANSPORT", "none")
        .env("APP_API_TOKEN", "token")
        .env("RELAY_URL_CATALOG", "http://127.0.0.1:9")
        .spawn()?;
    Ok((child, format!("http://127.0.0.1:{port}")))
}

async fn until_alive(url: &str) {
    eventually("pricing is alive", || async {
        Ok(reqwest::get(format!("{url}/healthz")).await?.status().is_success())
    })
    .await;
}

/// Ends it in order; its log is JSON.
async fn end(mut child: Child) -> anyhow::Result<()> {
    let term = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    assert!(term.success());
    eventually("pricing has ended", || {
        let ended = child.try_wait();
        async move { Ok(ended?.is_some()) }
    })
    .await;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{output:?}");
    for line in String::from_utf8(output.stdout)?.lines() {
        serde_json::from_str::<Value>(line)?;
    }
    Ok(())
}

#[tokio::test]
async fn it_migrates_serves_and_publishes_a_start_that_it_slept_through() -> anyhow::Result<()> {
    let database = Database::create("pricing").await?;
    for _ in 0..2 {
        let migrated = pricing().arg("migrate").env("DATABASE_URL", database.url()).output()?;
        assert!(migrated.status.success(), "{migrated:?}");
    }
    let (mut child, url) = start(&database)?;
    until_alive(&url).await;
    let put = async |path: &str, body: Value| {
        let put = reqwest::Client::new().put(format!("{url}/api/v1/{path}"));
        anyhow::Ok(put.json(&body).send().await?.status().as_u16())
    };
    assert_eq!(put("prices/a", json!({"currency": "USD", "amount": "10"})).await?, 201);
    let ready = reqwest::get(format!("{url}/readyz?verbose")).await?;
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await?.contains("catalog.products"));
    let starts_at = Utc::now() + Duration::from_secs(2);
    let ends_at = starts_at + Duration::from_hours(1);
    let at = |time: chrono::DateTime<Utc>| time.format("%FT%T%.6fZ").to_string();
    let periods = json!([{"starts_at": at(starts_at), "ends_at": at(ends_at)}]);
    let promotion = json!({"skus": ["a"], "percent_off": "20", "periods": periods});
    assert_eq!(put("promotions/summer", promotion).await?, 201);
    child.kill()?;
    child.wait()?;

    let client = database.connect().await?;
    eventually("the start has passed", || async {
        let due = "select from pricing.price where until <= now()";
        Ok(client.query_opt(due, &[]).await?.is_some())
    })
    .await;
    let (child, url) = start(&database)?;
    until_alive(&url).await;
    eventually("the start is published", || async {
        let price = reqwest::get(format!("{url}/api/v1/prices/a")).await?.json::<Value>().await?;
        Ok(price["effective"] == "8.00" && price["promotion"] == "summer")
    })
    .await;
    end(child).await
}

#[test]
fn help_names_every_setting_and_needs_none() -> anyhow::Result<()> {
    let help = pricing().arg("--help").output()?;
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout)?;
    for word in ["DATABASE_URL", "127.0.0.1:8082", "TRANSPORT", "migrate", "openapi"] {
        assert!(help.contains(word), "{help}");
    }
    Ok(())
}

#[test]
fn it_prints_its_document_without_any_setting() -> anyhow::Result<()> {
    let printed = pricing().arg("openapi").output()?;
    assert!(printed.status.success(), "{printed:?}");
    let document: Value = serde_json::from_slice(&printed.stdout)?;
    assert!(document["paths"]["/api/v1/prices/{sku}"].is_object());
    Ok(())
}
