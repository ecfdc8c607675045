//! The program as a supervisor runs it.

use std::process::{Command, Stdio};

use testkit::Database;

use crate::world::{STOCK, service_url};

fn warehouse() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warehouse"));
    command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn it_migrates_serves_ends_reservations_and_ends_on_sigterm() -> anyhow::Result<()> {
    let database = Database::create("warehouse").await?;
    for _ in 0..2 {
        let migrated = warehouse().arg("migrate").env("DATABASE_URL", database.url()).output()?;
        assert!(migrated.status.success(), "{migrated:?}");
    }
    // What came to its end while no process ran is taken back at the start.
    let client = database.connect().await?;
    let before = "with place as (insert into warehouse.location (id) values ('s'))
        insert into warehouse.stock (sku, location, on_hand, reserved) values ('a', 's', 5, 2)";
    client.execute(before, &[]).await?;
    let over = "insert into warehouse.reservation (id, sku, location, quantity, expires_at)
        values (gen_random_uuid(), 'a', 's', 2, now() - interval '1 hour')";
    client.execute(over, &[]).await?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut child = warehouse()
        .env("DATABASE_URL", service_url(&database.url()))
        .env("LISTEN", format!("127.0.0.1:{port}"))
        .env("TRANSPORT", "none")
        .env("APP_API_TOKEN", "token")
        .env("RELAY_URL_CATALOG", "http://127.0.0.1:9")
        .spawn()?;
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    testkit::eventually("stock is as it should be", || async {
        let stock: serde_json::Value = reqwest::get(url(STOCK)).await?.json().await?;
        Ok(stock["reserved"] == 0 && stock["on_hand"] == 5)
    })
    .await;
    let status: serde_json::Value = reqwest::get(url("/sync/status")).await?.json().await?;
    assert_eq!(status["topics"][0]["topic"], "catalog.products");
    assert_eq!(status["ready"], false, "there is no catalog to follow");
    let push = reqwest::Client::new().post(url("/events/catalog.products.normal"));
    assert_eq!(push.send().await?.status(), 401, "only the sidecar may deliver");

    let term = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    assert!(term.success());
    testkit::eventually("warehouse has ended", || {
        let ended = child.try_wait();
        async move { Ok(ended?.is_some()) }
    })
    .await;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(())
}

#[test]
fn help_names_every_setting_and_needs_none() -> anyhow::Result<()> {
    let help = warehouse().arg("--help").output()?;
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout)?;
    for word in ["DATABASE_URL", "127.0.0.1:8083", "migrate", "openapi", "TRANSPORT"] {
        assert!(help.contains(word), "{help}");
    }
    Ok(())
}
