//! The roles of an installation are enough for everything: owner, service and relay.

use std::time::Duration;

use bus::{Bus, Memory};
use contracts::Source;
use outbox::{Config, MIGRATIONS, Relay, Turn};
use testkit::Database;

use crate::world::{ITEMS, Running};

/// Where the server asks for one.
const PASSWORD: &str = "for-this-test-alone";

/// The URL of the database as another role.
fn url_of(database: &Database, role: &str) -> String {
    let (scheme, rest) = database.url().split_once("://").map(owned).unwrap();
    let (_, place) = rest.split_once('@').map(owned).unwrap();
    format!("{scheme}://{role}:{PASSWORD}@{place}")
}

fn owned((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[tokio::test]
async fn owner_service_and_relay_need_no_superuser() {
    let database = Database::create("rights").await.unwrap();
    let admin = database.connect().await.unwrap();
    let [owner, service, relay] =
        ["owner", "service", "relay"].map(|role| format!("{role}_{}", &database.name()[7..]));
    let roles = format!(
        "create role {owner} login password '{PASSWORD}';
         create role {service} login password '{PASSWORD}' in role syncline_service;
         create role {relay} login password '{PASSWORD}' in role syncline_relay;
         alter database \"{}\" owner to {owner}",
        database.name()
    );
    admin.batch_execute(&roles).await.unwrap();

    let client = testkit::connect(&url_of(&database, &owner)).await.unwrap();
    for (_, sql) in MIGRATIONS {
        client.batch_execute(sql).await.unwrap();
    }
    let topic = "insert into outbox.topic values ($1, 'normal', '1')";
    client.execute(topic, &[&ITEMS]).await.unwrap();

    let source = Source::parse("shop").unwrap();
    let url = url_of(&database, &relay).into();
    let bus = Bus::memory(&Memory::new());
    let relayed = Relay::open(&Config::default(), source, &url, bus).unwrap();
    assert_eq!(relayed.turn().await.unwrap(), Turn::Idle);
    let writer = testkit::connect(&url_of(&database, &service)).await.unwrap();
    crate::world::put(&writer, "a", "{}").await.unwrap();
    assert_eq!(relayed.turn().await.unwrap(), Turn::Sealed(1));

    let running = Running::start(relayed);
    running.leading().await;
    let (status, answer) = running.sync("index", serde_json::Value::Null).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let position = serde_json::json!([{
        "stream": "shop.items.normal", "pn": "1", "term": answer["streams"][0]["term"],
    }]);
    testkit::within(Duration::from_secs(5), "the position is stored", || async {
        running.sync("index", position.clone()).await?;
        let consumers = running.relay.status().await["consumers"].clone();
        Ok(consumers[0]["positions"][0]["pn"] == "1")
    })
    .await;
    let (status, answer) = running.get(&format!("/where/{ITEMS}?key=a")).await.unwrap();
    assert_eq!((status.as_u16(), &answer["pn"]), (200, &serde_json::json!("1")), "{answer}");
    let (status, _) = running.get(&format!("/snapshot/{ITEMS}")).await.unwrap();
    assert_eq!(status, 200);
    testkit::eventually("it is published and the mark saved", || async {
        let sql = "select exists (select from outbox.publish_mark where pn = 1) as saved";
        Ok(client.query_one(sql, &[]).await?.get("saved"))
    })
    .await;
    running.stop().await;

    drop((client, writer));
    let cleanup = format!(
        "reassign owned by {owner} to current_user; drop owned by {owner}, {service}, {relay};
         drop role {owner}; drop role {service}; drop role {relay}"
    );
    admin.batch_execute(&cleanup).await.unwrap();
}
