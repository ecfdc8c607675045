//! How often a request waits for the database, counted on the wire.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

use crate::world::{app, migrated, send, service_url};

/// Answers are held back for so long that everything which does not wait for them is sent before.
const DELAY: Duration = Duration::from_millis(25);

/// Counts how often a client sends after it was answered: its round trips.
#[derive(Clone, Default)]
struct Counter {
    trips: Arc<AtomicU32>,
    sending: Arc<AtomicBool>,
}

impl Counter {
    fn sent(&self) {
        if !self.sending.swap(true, Ordering::SeqCst) {
            self.trips.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn answered(&self) {
        self.sending.store(false, Ordering::SeqCst);
    }

    fn take(&self) -> u32 {
        self.trips.swap(0, Ordering::SeqCst)
    }
}

async fn requests(counter: Counter, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        counter.sent();
        if to.write_all(bytes.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}

async fn answers(counter: Counter, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        tokio::time::sleep(DELAY).await;
        counter.answered();
        if to.write_all(bytes.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}

/// Passes everything on between the service and the database at this URL.
async fn proxy(counter: Counter, listener: TcpListener, database: String) {
    let mut pumps = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(&database).await.expect("the database answers");
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        pumps.spawn(requests(counter.clone(), from_client, to_server));
        pumps.spawn(answers(counter.clone(), from_server, to_client));
    }
}

#[tokio::test]
async fn a_write_costs_two_round_trips_and_a_read_one() -> anyhow::Result<()> {
    let database = migrated().await?;
    let url = database.url();
    let (_, rest) = url.rsplit_once('@').unwrap_or(("", &url));
    let server = rest.split('/').next().unwrap_or_default().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let through = url.replace(&server, &listener.local_addr()?.to_string());
    let counter = Counter::default();
    let mut running = JoinSet::new();
    running.spawn(proxy(counter.clone(), listener, server));
    let app = app(&service_url(&through)).await?;

    let product = "/api/v1/products/a";
    let category = "/api/v1/categories/a";
    let bodies = |n: u32| {
        (
            format!(r#"{{"name":"{n}","categories":["a"],"attributes":{{"n":{n}}}}}"#),
            format!(r#"{{"name":"{n}","parent":"b"}}"#),
        )
    };
    for round in 0..3 {
        let (for_product, for_category) = bodies(round);
        let mut trips = Vec::new();
        for (method, path, body) in [
            ("PUT", product, for_product.as_str()),
            ("PUT", product, &bodies(round + 100).0),
            ("PUT", category, &for_category),
            ("GET", product, ""),
            ("DELETE", category, ""),
            ("DELETE", product, ""),
        ] {
            counter.take();
            let answer = send(&app, method, path, &[], body).await;
            assert!(answer.status.is_success(), "{answer:?}");
            trips.push(counter.take());
        }
        let tagged = send(&app, "PUT", product, &[], &for_product).await;
        counter.take();
        let headers = [("if-match", tagged.etag())];
        let answer = send(&app, "PUT", product, &headers, &bodies(round + 200).0).await;
        assert_eq!(answer.status, 200);
        trips.push(counter.take());
        // The first round also prepares each statement, once per connection.
        if round > 0 {
            assert_eq!(trips, [2, 2, 2, 1, 2, 2, 2], "round {round}");
        }
    }
    // That the counter counts: a key has to be locked, looked up and kept.
    counter.take();
    let headers = [("idempotency-key", "k")];
    assert_eq!(send(&app, "PUT", product, &headers, &bodies(999).0).await.status, 200);
    assert!(counter.take() >= 5);
    Ok(())
}
