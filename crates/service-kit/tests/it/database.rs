//! The pool of a service against a real database.

use deadpool_postgres::Pool;
use service_kit::{Error, Service, chain};
use testkit::Database;

use crate::world::{config, database};

async fn open(args: &[&str]) -> Result<Pool, Error> {
    Service::start("sample", &config(args))?.pool(&database(args)).await
}

#[tokio::test]
async fn connections_are_named_and_bounded_in_time() -> anyhow::Result<()> {
    let database = Database::create("service-kit").await?;
    let pool = open(&["--database-url", &database.url()]).await?;
    let client = pool.get().await?;
    let settings = "select current_setting('application_name') as name,
        current_setting('statement_timeout') as statement,
        current_setting('idle_in_transaction_session_timeout') as idle";
    let row = client.query_one(settings, &[]).await?;
    assert_eq!(row.get::<_, &str>("name"), "sample");
    assert_eq!(row.get::<_, &str>("statement"), "10s");
    assert_eq!(row.get::<_, &str>("idle"), "2s");
    Ok(())
}

#[tokio::test]
async fn a_database_that_forgets_commits_is_refused() -> anyhow::Result<()> {
    let database = Database::create("service-kit").await?;
    let forget = format!("alter database \"{}\" set synchronous_commit = off", database.name());
    database.connect().await?.batch_execute(&forget).await?;
    let error = open(&["--database-url", &database.url()]).await.unwrap_err();
    assert!(chain(&error).contains("synchronous_commit is off"), "{}", chain(&error));
    Ok(())
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_not_waited_for() -> anyhow::Result<()> {
    let database = Database::create("service-kit").await?;
    let url = database.url();
    drop(database);
    let args = ["--database-url", &url];
    let asked = tokio::time::timeout(std::time::Duration::from_secs(5), open(&args)).await?;
    assert!(asked.is_err());
    Ok(())
}

#[tokio::test]
async fn a_service_without_a_database_url_says_so() {
    let error = open(&[]).await.unwrap_err();
    assert_eq!(chain(&error), "find database: DATABASE_URL is not set");
}

#[tokio::test]
async fn settings_that_do_not_go_together_are_refused() {
    for setting in [
        "--http-request-ms-max=9999",
        "--database-statement-ms-max=0",
        "--database-statement-ms-max=60001",
    ] {
        let args = ["--database-url", "postgres://nowhere/none", setting];
        let args = [
            &args[..],
            &["--http-request-ms-max=70000"][..usize::from(setting.ends_with("60001"))],
        ];
        let error = open(&args.concat()).await.unwrap_err();
        assert!(chain(&error).starts_with("check the settings: "), "{}", chain(&error));
    }
}
