//! The memory hub: what a test can make of deliveries.

use bus::{Bus, Fault, Memory, Transport, Verdict};
use bytes::Bytes;
use contracts::{Lane, Stream};

use crate::{Recorder, products};

async fn publish(bus: &Bus, text: &'static str) -> Result<(), bus::Error> {
    let stream = Stream::new(&products(), Lane::Normal);
    bus.publish(&stream, Lane::Normal, Bytes::from_static(text.as_bytes())).await
}

#[tokio::test]
async fn every_service_receives_what_was_published_before_publish_returns() {
    let hub = Memory::new();
    let (relay, one, two) = (Bus::memory(&hub), Bus::memory(&hub), Bus::memory(&hub));
    let (first, second) = (Recorder::content(), Recorder::content());
    one.subscribe(&products(), first.handler());
    two.subscribe(&products(), second.handler());
    publish(&relay, "a").await.unwrap();
    assert_eq!((first.bodies(), second.bodies()), (vec!["a".into()], vec!["a".into()]));

    drop(two);
    publish(&relay, "b").await.unwrap();
    assert_eq!((first.bodies().len(), second.bodies().len()), (2, 1));
    assert_eq!(relay.transport(), Transport::Memory);
    assert!(relay.ready().await);
}

#[tokio::test]
async fn a_script_loses_repeats_refuses_and_loses_answers() {
    let hub = Memory::new();
    let bus = Bus::memory(&hub);
    let recorder = Recorder::content();
    bus.subscribe(&products(), recorder.handler());
    hub.script([Fault::Pass, Fault::Lose, Fault::Repeat, Fault::Refuse, Fault::AnswerLost]);
    publish(&bus, "pass").await.unwrap();
    publish(&bus, "lose").await.unwrap();
    publish(&bus, "repeat").await.unwrap();
    publish(&bus, "refuse").await.unwrap_err();
    publish(&bus, "answer lost").await.unwrap_err();
    publish(&bus, "after").await.unwrap();
    assert_eq!(recorder.bodies(), ["pass", "repeat", "repeat", "answer lost", "after"]);
}

#[tokio::test]
async fn held_deliveries_are_released_in_any_order() {
    let hub = Memory::new();
    let bus = Bus::memory(&hub);
    let recorder = Recorder::content();
    bus.subscribe(&products(), recorder.handler());
    hub.hold();
    for text in ["a", "b", "c"] {
        publish(&bus, text).await.unwrap();
    }
    assert_eq!((hub.held().len(), recorder.bodies().len()), (3, 0));
    hub.release(&[2, 0, 0]).await;
    assert_eq!(recorder.bodies(), ["c", "a", "a"]);

    publish(&bus, "d").await.unwrap();
    assert_eq!(hub.held().len(), 1);
    hub.resume().await;
    publish(&bus, "e").await.unwrap();
    assert_eq!(recorder.bodies(), ["c", "a", "a", "d", "e"]);
}

#[tokio::test]
async fn a_refused_delivery_is_tried_five_times_and_then_given_up() {
    let hub = Memory::new();
    let bus = Bus::memory(&hub);
    let recorder = Recorder::new(|body, times| match body {
        "heals" if times == 5 => Verdict::Done,
        "bomb" => panic!("the handler fails"),
        _ => Verdict::Retry,
    });
    bus.subscribe(&products(), recorder.handler());
    publish(&bus, "heals").await.unwrap();
    assert_eq!((recorder.bodies().len(), hub.given_up()), (5, 0));
    publish(&bus, "never").await.unwrap();
    publish(&bus, "bomb").await.unwrap();
    assert_eq!((recorder.bodies().len(), hub.given_up()), (15, 2));
}

#[tokio::test]
async fn transport_none_takes_everything_and_carries_nothing() {
    let bus = Bus::none();
    let recorder = Recorder::content();
    bus.subscribe(&products(), recorder.handler());
    publish(&bus, "a").await.unwrap();
    assert!(bus.ready().await);
    assert!(recorder.bodies().is_empty());
    assert_eq!(bus.transport().to_string(), "none");
}
