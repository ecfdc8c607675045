//! An instance that could forget in part is refused, whenever it turns up.

use cache::{Cache, Error, Key};
use redis::Client;
use redis::aio::ConnectionManager;
use testkit::{RedisServer, eventually};

use crate::{config, tell, world};

async fn refusal(url: &str) -> String {
    let refused = Cache::connect(&config(url)).await.unwrap_err();
    assert!(matches!(refused, Error::Unfit(_)), "{refused:?}");
    refused.to_string()
}

#[tokio::test]
async fn a_full_instance_must_forget_what_was_not_asked_for() -> anyhow::Result<()> {
    let server = RedisServer::streams().await?;
    let refusal = refusal(&server.url()).await;
    assert!(refusal.contains("noeviction (set `maxmemory-policy allkeys-lru`)"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn nothing_may_be_kept_on_disk() -> anyhow::Result<()> {
    let (server, _, mut redis) = world().await?;
    redis::cmd("CONFIG").arg(&["SET", "save", "3600 1"]).exec_async(&mut redis).await?;
    let refusal = refusal(&server.url()).await;
    assert!(refusal.contains("3600 1 (set `save \"\"`)"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn it_is_neither_a_replica_nor_has_it_one() -> anyhow::Result<()> {
    let (server, _, mut redis) = world().await?;
    let (other, _, mut replica) = world().await?;
    let first = server.url();
    let (password, address) = first.trim_start_matches("redis://:").split_once('@').unwrap();
    tell(&mut replica, &format!("CONFIG SET masterauth {password}")).await?;
    tell(&mut replica, &format!("REPLICAOF {}", address.replace(':', " "))).await?;
    let says = refusal(&other.url()).await;
    assert!(says.contains("`replicaof no one`"), "{says}");
    eventually("the first one knows its replica", || async {
        Ok(Cache::connect(&config(&first)).await.is_err())
    })
    .await;
    let says = refusal(&first).await;
    assert!(says.contains("it has a replica"), "{says}");
    tell(&mut redis, "PING").await
}

#[tokio::test]
async fn one_that_keeps_its_settings_to_itself_is_taken() -> anyhow::Result<()> {
    let (server, _, mut redis) = world().await?;
    tell(&mut redis, "ACL SETUSER closed on >secret ~* &* +@all -config -info").await?;
    let url = server.url().replace("redis://:", "redis://closed:");
    let (_, address) = url.split_once('@').unwrap();
    let cache = Cache::connect(&config(&format!("redis://closed:secret@{address}"))).await?;
    cache.look(&Key::new("n", "product", "a")).await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_is_no_outage() -> anyhow::Result<()> {
    let (server, _, _) = world().await?;
    let (_, address) =
        server.url().split_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let wrong = Cache::connect(&config(&format!("redis://:wrong@{address}"))).await;
    assert!(matches!(wrong, Err(Error::Refused { .. })), "{wrong:?}");
    let nowhere = Cache::connect(&config("postgres://127.0.0.1")).await;
    assert!(matches!(nowhere, Err(Error::Url(_))), "{nowhere:?}");
    Ok(())
}

#[tokio::test]
async fn the_instance_is_looked_at_again_after_each_broken_connection() -> anyhow::Result<()> {
    let (server, cache, mut redis) = world().await?;
    let key = Key::new("n", "product", "a");
    cache.look(&key).await?;
    tell(&mut redis, "CONFIG SET maxmemory-policy volatile-lru").await?;
    cache.look(&key).await?;
    tell(&mut redis, "CLIENT KILL TYPE normal SKIPME yes").await?;
    eventually("the changed instance is refused", || async {
        Ok(matches!(cache.look(&key).await, Err(Error::Unfit(_))))
    })
    .await;
    let mut redis = ConnectionManager::new(Client::open(server.url())?).await?;
    tell(&mut redis, "CONFIG SET maxmemory-policy allkeys-lfu").await?;
    cache.look(&key).await?;
    Ok(())
}
