//! The end of a service comes in order, whatever causes it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use service_kit::{Service, chain, streamed};
use tokio::sync::Notify;

use crate::world::{Running, config};

#[tokio::test]
async fn a_failed_task_ends_the_service_after_requests_and_before_tasks_are_gone() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (entered, fail) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let service = Service::start("sample", &config(&[])).unwrap();
    let (trigger, stop, ended) = (Arc::clone(&fail), service.stop(), Arc::clone(&log));
    service.tasks().spawn("broken", async move {
        trigger.notified().await;
        Err::<(), _>("no water")
    });
    service.tasks().spawn("patient", async move {
        stop.cancelled().await;
        ended.lock().unwrap().push("task");
        Ok::<_, service_kit::Error>(())
    });
    let (enter, finished) = (Arc::clone(&entered), Arc::clone(&log));
    let slow = get(|| async move {
        enter.notify_one();
        tokio::time::sleep(Duration::from_millis(100)).await;
        finished.lock().unwrap().push("request");
        "done"
    });
    let service = Running::start(service, Router::new().route("/slow", slow)).await;

    let request = reqwest::get(service.url("/slow"));
    let failing = async {
        entered.notified().await;
        fail.notify_one();
    };
    let (response, ()) = tokio::join!(request, failing);
    assert_eq!(response.unwrap().text().await.unwrap(), "done");
    let address = service.address;
    let error = service.end.await.unwrap().unwrap_err();
    assert_eq!(chain(&error), "run task broken: no water");
    assert_eq!(*log.lock().unwrap(), ["request", "task"]);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_at_the_limit() {
    let limits = config(&["--shutdown-ms-max", "50", "--http-request-ms-max", "50"]);
    let service = Service::start("sample", &limits).unwrap();
    let stop = service.stop();
    let entered = Arc::new(Notify::new());
    let enter = Arc::clone(&entered);
    let never = get(|| async move {
        enter.notify_one();
        std::future::pending::<&str>().await
    });
    // Only a stream may take longer than a request.
    let routes = streamed(Router::new().route("/never", never));
    let service = Running::start(service, routes).await;
    let failing = async {
        entered.notified().await;
        stop.cancel();
    };
    let (response, ()) = tokio::join!(reqwest::get(service.url("/never")), failing);
    assert!(response.is_err());
    service.end.await.unwrap().unwrap();
}
