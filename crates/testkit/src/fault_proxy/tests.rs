//! Each fault does what it says, and its counter says so.

use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use tokio::time::timeout;

use super::*;
use crate::eventually;

const SOON: Duration = Duration::from_secs(5);
const NEVER: Duration = Duration::from_millis(150);

/// A server that sends back what it hears, and tells nobody how large the pieces were.
struct Echo {
    address: SocketAddr,
    _running: JoinSet<()>,
}

async fn echo() -> anyhow::Result<Echo> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Ok(Echo { address, _running: running })
}

async fn round_trip(stream: &mut TcpStream, bytes: usize) -> io::Result<Duration> {
    let start = Instant::now();
    let sent = vec![7; bytes];
    stream.write_all(&sent).await?;
    let mut heard = vec![0; bytes];
    stream.read_exact(&mut heard).await?;
    assert_eq!(heard, sent);
    Ok(start.elapsed())
}

#[tokio::test]
async fn a_proxy_leads_to_a_target_that_is_known_only_later() -> anyhow::Result<()> {
    let known: Arc<std::sync::OnceLock<SocketAddr>> = Arc::default();
    let asked = Arc::clone(&known);
    let later: Target =
        Arc::new(move || asked.get().copied().ok_or_else(|| anyhow::anyhow!("not known yet")));
    let proxy = FaultProxy::start(later).await?;
    let mut early = TcpStream::connect(proxy.address()).await?;
    assert_eq!(early.read(&mut [0]).await?, 0, "a connection to nowhere stayed open");
    let echo = echo().await?;
    let _ = known.set(echo.address);
    round_trip(&mut TcpStream::connect(proxy.address()).await?, 10).await?;
    assert_eq!(proxy.bites(), Bites { connections: 1, ..Bites::default() });
    Ok(())
}

#[tokio::test]
async fn latency_delays_and_jitter_differs() -> anyhow::Result<()> {
    let echo = echo().await?;
    let proxy = FaultProxy::start(target(echo.address)).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    let (delay, jitter) = (Duration::from_millis(40), Duration::from_millis(20));
    proxy.set(Fault::Latency { delay, jitter });
    assert!(round_trip(&mut stream, 10).await? >= 2 * delay);
    assert!(proxy.bites().delayed >= 2);
    proxy.set(Fault::Nothing);
    let delayed = proxy.bites().delayed;
    round_trip(&mut stream, 10).await?;
    assert_eq!(proxy.bites().delayed, delayed);

    let some: Vec<Duration> = (0..50).map(|_| some_of(jitter)).collect();
    assert!(some.iter().all(|one| *one <= jitter));
    assert!(some.iter().any(|one| Some(one) != some.first()), "{some:?}");
    Ok(())
}

#[tokio::test]
async fn a_cut_ends_connections_and_refuses_new_ones_until_it_is_mended() -> anyhow::Result<()> {
    let echo = echo().await?;
    let proxy = FaultProxy::start(target(echo.address)).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    round_trip(&mut stream, 10).await?;
    proxy.set(Fault::Cut);
    assert_eq!(timeout(SOON, stream.read(&mut [0])).await??, 0);
    let mut second = TcpStream::connect(proxy.address()).await?;
    assert!(round_trip(&mut second, 10).await.is_err());
    let bites = proxy.bites();
    assert_eq!((bites.broken, bites.refused), (1, 1));
    proxy.set(Fault::Nothing);
    round_trip(&mut TcpStream::connect(proxy.address()).await?, 10).await?;
    Ok(())
}

#[tokio::test]
async fn a_reset_is_seen_as_one() -> anyhow::Result<()> {
    let echo = echo().await?;
    let proxy = FaultProxy::start(target(echo.address)).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    round_trip(&mut stream, 10).await?;
    proxy.set(Fault::Reset);
    let seen = timeout(SOON, stream.read(&mut [0])).await?;
    assert_eq!(seen.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    let mut second = TcpStream::connect(proxy.address()).await?;
    assert!(timeout(SOON, round_trip(&mut second, 10)).await?.is_err());
    assert_eq!((proxy.bites().broken, proxy.bites().refused), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_half_open_way_takes_everything_and_passes_it_when_it_opens() -> anyhow::Result<()> {
    let echo = echo().await?;
    let proxy = FaultProxy::start(target(echo.address)).await?;
    let mut old = TcpStream::connect(proxy.address()).await?;
    round_trip(&mut old, 10).await?;
    proxy.set(Fault::HalfOpen);
    let mut new = TcpStream::connect(proxy.address()).await?;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"held").await?;
        assert!(timeout(NEVER, stream.read(&mut [0])).await.is_err(), "something passed");
    }
    assert_eq!((proxy.bites().held, proxy.bites().connections), (2, 1));
    proxy.set(Fault::Nothing);
    for stream in [&mut old, &mut new] {
        let mut heard = [0; 4];
        timeout(SOON, stream.read_exact(&mut heard)).await??;
        assert_eq!(&heard, b"held");
    }
    Ok(())
}

#[tokio::test]
async fn bandwidth_makes_much_slow_and_slices_make_it_many() -> anyhow::Result<()> {
    let echo = echo().await?;
    let proxy = FaultProxy::start(target(echo.address)).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    proxy.set(Fault::Bandwidth(50_000));
    assert!(round_trip(&mut stream, 10_000).await? >= Duration::from_millis(200));
    assert!(proxy.bites().throttled >= 20_000);
    proxy.set(Fault::Slices(7));
    round_trip(&mut stream, 700).await?;
    assert!(proxy.bites().sliced >= 99, "{:?}", proxy.bites());
    Ok(())
}

/// An app that notes the bodies of what it is sent, in the order in which it answers.
struct App {
    address: SocketAddr,
    heard: Arc<std::sync::Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    _running: JoinSet<()>,
}

async fn app() -> anyhow::Result<App> {
    use http_body_util::{BodyExt as _, Full};
    use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let heard: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let connections = Arc::new(AtomicUsize::new(0));
    let (notes, taken) = (Arc::clone(&heard), Arc::clone(&connections));
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.fetch_add(1, Ordering::SeqCst);
            let notes = Arc::clone(&notes);
            served.spawn(async move {
                let answer = service_fn(|request: Request<Incoming>| {
                    let notes = Arc::clone(&notes);
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let body = String::from_utf8_lossy(&body).into_owned();
                        let told = format!("{} {} {body}", head.method, head.uri);
                        notes.lock().unwrap().push(told.trim_end().to_owned());
                        let answer = Full::new(bytes::Bytes::from(format!("got {body}")));
                        let name = head.headers.get("x-name").cloned();
                        let mut answer = Response::new(answer);
                        name.map(|name| answer.headers_mut().insert("x-name", name));
                        Ok::<_, hyper::Error>(answer)
                    }
                });
                let stream = hyper_util::rt::TokioIo::new(stream);
                let _ = http1::Builder::new().serve_connection(stream, answer).await;
            });
        }
    });
    Ok(App { address, heard, connections, _running: running })
}

/// Posts as a sidecar does; answers the status line and the body.
async fn post(proxy: &DeliveryProxy, raw: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(proxy.address()).await?;
    stream.write_all(raw.as_bytes()).await?;
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

fn delivery(stream: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /events/{stream} HTTP/1.1\r\nhost: app\r\nx-name: {body}\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn deliveries_and_other_requests_pass_as_they_are() -> anyhow::Result<()> {
    let app = app().await?;
    let proxy = DeliveryProxy::start(target(app.address), "/events/").await?;
    let answer = post(&proxy, &delivery("a", "one")).await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("got one"), "{answer}");
    assert!(answer.contains("x-name: one"), "{answer}");
    let chunked = "POST /events/a HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\
                   transfer-encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\n\r\n";
    assert!(post(&proxy, chunked).await?.ends_with("got two"));
    proxy.set(Deliveries::Refuse);
    let probe = "GET /healthz HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n";
    assert!(post(&proxy, probe).await?.starts_with("HTTP/1.1 200"));
    assert!(post(&proxy, &delivery("a", "never")).await?.starts_with("HTTP/1.1 500"));
    let expected = ["POST /events/a one", "POST /events/a two", "GET /healthz"];
    assert_eq!(*app.heard.lock().unwrap(), expected);
    let delivered = proxy.delivered();
    assert_eq!((delivered.received, delivered.refused), (3, 1));
    Ok(())
}

#[tokio::test]
async fn of_two_deliveries_on_one_path_the_second_arrives_first_and_each_twice()
-> anyhow::Result<()> {
    let (first, second) = ("POST /events/a first", "POST /events/a second");
    for _ in 0..10 {
        let app = app().await?;
        let proxy = DeliveryProxy::start(target(app.address), "/events/").await?;
        proxy.set(Deliveries::DoubleAndReorder);
        let told = post(&proxy, &delivery("a", "first")).await?;
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
        let early = app.heard.lock().unwrap().len();
        let told = post(&proxy, &delivery("a", "second")).await?;
        let delivered = proxy.delivered();
        if delivered.alone > 0 {
            continue; // the machine stood still between the two
        }
        assert_eq!(early, 0, "it was not held back");
        assert!(told.ends_with("got second"), "{told}");
        assert_eq!(*app.heard.lock().unwrap(), [second, second, first, first]);
        assert_eq!(app.connections.load(Ordering::SeqCst), 4);
        assert_eq!((delivered.received, delivered.doubled, delivered.reordered), (2, 2, 1));
        return Ok(());
    }
    anyhow::bail!("the machine stood still each time")
}

#[tokio::test]
async fn a_delivery_that_none_follows_passes_alone() -> anyhow::Result<()> {
    let app = app().await?;
    let proxy = DeliveryProxy::start(target(app.address), "/events/").await?;
    proxy.set(Deliveries::Reorder);
    post(&proxy, &delivery("a", "only")).await?;
    eventually("the delivery arrives", async || Ok(app.heard.lock().unwrap().len() == 1)).await;
    let delivered = proxy.delivered();
    assert_eq!((delivered.alone, delivered.reordered, delivered.doubled), (1, 0, 0));
    Ok(())
}

#[tokio::test]
async fn a_sidecar_hears_of_an_app_that_is_not_there() -> anyhow::Result<()> {
    let [port] = crate::quiet_ports()?;
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let proxy = DeliveryProxy::start(target(nowhere), "/events/").await?;
    assert!(post(&proxy, &delivery("a", "one")).await?.starts_with("HTTP/1.1 502"));
    assert_eq!(proxy.delivered().unanswered, 1);
    Ok(())
}
