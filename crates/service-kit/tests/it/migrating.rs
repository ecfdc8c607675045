//! Migrations against a real database.

use service_kit::{chain, migrate};
use testkit::Database;

const FIRST: (&str, &str) = ("V1__create", "create table shop.shelf (id int primary key)");
const SECOND: (&str, &str) = ("V2__label", "alter table shop.shelf add label text");

#[tokio::test]
async fn each_migration_is_applied_once() -> anyhow::Result<()> {
    let database = Database::create("service-kit").await?;
    let mut client = database.connect().await?;
    assert_eq!(migrate(&mut client, "shop", &[FIRST]).await?, 1);
    assert_eq!(migrate(&mut client, "shop", &[FIRST, SECOND]).await?, 1);
    assert_eq!(migrate(&mut client, "shop", &[FIRST, SECOND]).await?, 0);
    let row = client.query_one("select count(*) as n from shop.migration", &[]).await?;
    assert_eq!(row.get::<_, i64>("n"), 2);
    client.execute("insert into shop.shelf (id, label) values (1, 'a')", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn an_edited_migration_is_refused() -> anyhow::Result<()> {
    let database = Database::create("service-kit").await?;
    let mut client = database.connect().await?;
    migrate(&mut client, "shop", &[FIRST]).await?;
    let edited = (FIRST.0, "create table shop.shelf (id bigint primary key)");
    let error = migrate(&mut client, "shop", &[edited]).await.unwrap_err();
    assert!(chain(&error).starts_with("migrate schema shop: "), "{}", chain(&error));
    // The lock was given back all the same.
    assert_eq!(migrate(&mut client, "shop", &[FIRST]).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_program_may_be_older_than_its_tables() -> anyhow::Result<()> {
    let database = Database::create("service-kit").await?;
    let mut client = database.connect().await?;
    migrate(&mut client, "shop", &[FIRST, SECOND]).await?;
    assert_eq!(migrate(&mut client, "shop", &[FIRST]).await?, 0);
    Ok(())
}

#[tokio::test]
async fn replicas_that_migrate_together_wait_for_each_other() -> anyhow::Result<()> {
    let database = Database::create("service-kit").await?;
    let migrations = [("V1__create", "create table shop.shelf (id int); select pg_sleep(0.05)")];
    let one = || async {
        let mut client = database.connect().await?;
        anyhow::Ok(migrate(&mut client, "shop", &migrations).await?)
    };
    let applied = tokio::try_join!(one(), one(), one())?;
    assert_eq!(applied.0 + applied.1 + applied.2, 1);
    Ok(())
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing() -> anyhow::Result<()> {
    let database = Database::create("service-kit").await?;
    let mut client = database.connect().await?;
    let broken = ("V1__create", "create table shop.shelf (id int); select 1 / 0");
    assert!(migrate(&mut client, "shop", &[broken]).await.is_err());
    let row = client.query_one("select to_regclass('shop.shelf') is null as none", &[]).await?;
    assert!(row.get::<_, bool>("none"));
    Ok(())
}

#[tokio::test]
async fn an_odd_schema_name_is_refused() -> anyhow::Result<()> {
    let database = Database::create("service-kit").await?;
    let mut client = database.connect().await?;
    assert!(migrate(&mut client, "shop; drop", &[FIRST]).await.is_err());
    Ok(())
}
