//! What an owner says of its records when they are imported.

use crate::world::World;

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

fn parcel(id: &str, street: &str) -> String {
    format!("{{\"id\":\"{id}\",\"street\":\"{street}\"}}\n")
}

async fn import(world: &World, file: &str) -> serde_json::Value {
    let said = world.send(("POST", "/parcels/import"), &[NDJSON], file).await;
    assert_eq!(said.status, 200, "{said:?}");
    serde_json::from_slice(&said.body).expect("JSON")
}

#[tokio::test]
async fn records_that_wait_are_counted_and_those_that_the_owner_refuses_are_told()
-> anyhow::Result<()> {
    let world = World::create().await?;
    let file = [parcel("a", "High Street"), parcel("b", "Low Street"), parcel("c", "")].concat();
    let answer = import(&world, &file).await;
    let expected = serde_json::json!({
        "lines": 3, "stored": 2, "unchanged": 0, "refused": 1, "waiting": 1,
        "refusals": [
            {"line": 3, "field": "", "code": "invalid", "reason": "nobody lives there"},
        ],
    });
    assert_eq!(answer, expected);
    Ok(())
}

/// An insert fails where the parcel is there already, and with it the whole batch at first.
#[tokio::test]
async fn a_constraint_that_one_record_breaks_spoils_that_record_alone() -> anyhow::Result<()> {
    let world = World::create().await?;
    import(&world, &parcel("b", "High Street")).await;
    let file = [parcel("a", "x"), parcel("b", "y"), parcel("c", "z"), parcel("d", "")].concat();
    let answer = import(&world, &file).await;
    assert_eq!((&answer["stored"], &answer["refused"]), (&2.into(), &2.into()));
    let refused: Vec<_> = answer["refusals"].as_array().into_iter().flatten().collect();
    let codes: Vec<_> = refused.iter().map(|one| (&one["line"], &one["code"])).collect();
    assert_eq!(codes, [(&2.into(), &"not-storable".into()), (&4.into(), &"invalid".into())]);
    let read = world.send(("GET", "/parcels/b"), &[], "").await;
    assert_eq!(read.body, parcel("b", "High Street").trim());
    Ok(())
}

#[tokio::test]
async fn a_record_that_cannot_be_published_spoils_itself_alone() -> anyhow::Result<()> {
    let world = World::create().await?;
    let key = "k".repeat(257);
    let file = [parcel("c", "High Street"), parcel(&key, "High Street")].concat();
    let answer = import(&world, &file).await;
    assert_eq!((&answer["stored"], &answer["refused"]), (&1.into(), &1.into()));
    assert_eq!(answer["refusals"][0]["code"], "not-publishable");
    Ok(())
}
