//! A proxy before the database through which program and server speak in turns, so that what they
//! say is counted exactly, and without a clock.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{JoinSet, yield_now};
use uuid::Uuid;

/// How often everything else in the runtime may go on before the program counts as waiting.
const YIELDS: usize = 16;

/// A running proxy. What a program sends without waiting goes to the server together, and is
/// answered together: one round trip.
///
/// Program and proxy share a thread and speak over a Unix socket, so nothing is on its way unseen:
/// a program that still sends nothing after all others had their turns waits for an answer.
#[derive(Debug)]
pub struct Lockstep {
    directory: PathBuf,
    url: String,
    trips: Arc<Mutex<Vec<Trip>>>,
    _running: JoinSet<()>,
}

/// One round trip of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    /// The name that the program gave its session.
    pub application: String,
    /// Whether the session began as one whose commits wait for the disk.
    pub is_durable: bool,
    /// What was executed, in order, without comments. To be asked whether it lives is no statement.
    pub statements: Vec<String>,
    /// What was prepared, in order, without comments.
    pub prepared: Vec<String>,
    /// How many transactions were committed, of a statement by itself or of several.
    pub commits: usize,
}

impl Lockstep {
    /// Stands before the database of this URL.
    ///
    /// # Errors
    /// Outside a runtime of one thread, where nobody could tell that a program waits.
    pub fn before(url: &str) -> anyhow::Result<Self> {
        let flavor = Handle::try_current()?.runtime_flavor();
        anyhow::ensure!(flavor == RuntimeFlavor::CurrentThread, "the runtime has threads");
        let (_, rest) = url.rsplit_once('@').context("a URL with a user")?;
        let server = rest.split('/').next().unwrap_or_default().to_owned();
        let directory = std::env::temp_dir().join(format!("lockstep-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&directory)?;
        let listener = UnixListener::bind(directory.join(".s.PGSQL.5432"))?;
        let path = directory.to_str().context("a path in UTF-8")?.replace('/', "%2F");
        let url = url.replace(&server, &format!("{path}:5432"));
        let trips = Arc::default();
        let mut running = JoinSet::new();
        running.spawn(accept(listener, server, Arc::clone(&trips)));
        Ok(Self { directory, url, trips, _running: running })
    }

    /// The database's URL through the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The round trips since the last call.
    pub fn take(&self) -> Vec<Trip> {
        std::mem::take(&mut lock(&self.trips))
    }
}

impl Drop for Lockstep {
    fn drop(&mut self) {
        // What stays behind is an empty socket among temporary files.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn lock(trips: &Mutex<Vec<Trip>>) -> MutexGuard<'_, Vec<Trip>> {
    trips.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: UnixListener, server: String, trips: Arc<Mutex<Vec<Trip>>>) {
    let mut sessions = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (server, trips) = (server.clone(), Arc::clone(&trips));
        sessions.spawn(async move {
            // A session that ends, at whichever side, ends at both.
            let _ = serve(client, &server, &trips).await;
        });
    }
}

async fn serve(mut client: UnixStream, server: &str, trips: &Mutex<Vec<Trip>>) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    let mut session = Session::open(&mut client, &mut server).await?;
    loop {
        let burst = burst(&mut client).await?;
        if burst.is_empty() {
            return Ok(());
        }
        let (mut trip, turns) = session.said(&burst);
        let (mut reader, mut writer) = server.split();
        let answering = async {
            let (mut answer, mut commits) = (Vec::new(), 0);
            for has_executed in turns {
                let is_committed = turn(&mut reader, &mut answer).await?;
                commits += usize::from(has_executed && is_committed);
            }
            Ok((answer, commits))
        };
        let ((), (answer, commits)) = tokio::try_join!(writer.write_all(&burst), answering)?;
        trip.commits = commits;
        lock(trips).push(trip);
        client.write_all(&answer).await?;
    }
}

/// All that the program sends before it waits; nothing once it is gone.
async fn burst(client: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut burst = Vec::with_capacity(1 << 16);
    let mut count = client.read_buf(&mut burst).await?;
    let mut yields = 0;
    while count > 0 && (yields < YIELDS || !is_whole(&burst)) {
        yield_now().await;
        match client.try_read_buf(&mut burst) {
            Ok(more) => (count, yields) = (more, 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => yields += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(if count > 0 { burst } else { Vec::new() })
}

/// Reads until the server is ready again; answers whether that ended a transaction well.
async fn turn(server: &mut (impl AsyncRead + Unpin), answer: &mut Vec<u8>) -> io::Result<bool> {
    let mut is_well = true;
    loop {
        let message = read(server).await?;
        let (tag, body) = message.split_at_checked(5).unwrap_or_default();
        let tag = tag.first();
        answer.extend_from_slice(&message);
        match tag {
            Some(b'Z') => return Ok(is_well && body == b"I"),
            Some(b'E') => is_well = false,
            Some(b'C') if body == b"ROLLBACK\0" => is_well = false,
            _ => {}
        }
    }
}

/// One message with its tag and length.
async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut message = vec![from.read_u8().await?];
    message.extend(rest(from).await?);
    Ok(message)
}

/// A message's length and body.
async fn rest(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut rest = length.to_be_bytes().to_vec();
    from.take(u64::from(length.saturating_sub(4))).read_to_end(&mut rest).await?;
    Ok(rest)
}

/// What is known of one connection.
struct Session {
    application: String,
    is_durable: bool,
    /// By their names.
    prepared: HashMap<String, String>,
    bound: String,
}

impl Session {
    /// Lets the program enter, and asks once whether this session's commits are durable.
    async fn open(client: &mut UnixStream, server: &mut TcpStream) -> io::Result<Self> {
        let startup = rest(client).await?;
        server.write_all(&startup).await?;
        loop {
            let message = read(server).await?;
            client.write_all(&message).await?;
            match message.first() {
                Some(b'Z') => break,
                // Neither "you are in" nor the last word of a check: the program's next word.
                Some(b'R') if !matches!(message.get(8), Some(0 | 12)) => {
                    server.write_all(&read(client).await?).await?;
                }
                _ => {}
            }
        }
        let mut answer = Vec::new();
        server.write_all(b"Q\0\0\0\x1cshow synchronous_commit\0").await?;
        turn(server, &mut answer).await?;
        let parameters = startup.get(8..).unwrap_or_default();
        let words: Vec<_> = parameters.split(|byte| *byte == 0).collect();
        let mut named =
            words.chunks_exact(2).filter(|pair| pair.first() == Some(&&b"application_name"[..]));
        let application = named.next().and_then(|pair| pair.last());
        Ok(Self {
            application: application.map(|name| text(name)).unwrap_or_default(),
            // The value with its length before it.
            is_durable: answer.windows(6).any(|value| value == b"\0\0\0\x02on"),
            prepared: HashMap::new(),
            bound: String::new(),
        })
    }

    /// What was said at once; and for each turn that the server takes, whether it executes
    /// something.
    fn said(&mut self, burst: &[u8]) -> (Trip, Vec<bool>) {
        let mut trip = Trip {
            application: self.application.clone(),
            is_durable: self.is_durable,
            statements: Vec::new(),
            prepared: Vec::new(),
            commits: 0,
        };
        let (mut turns, mut before, mut rest) = (Vec::new(), 0, burst);
        while let Some((tag, body, next)) = split(rest) {
            rest = next;
            let mut words = body.split(|byte| *byte == 0).map(text);
            let mut word = || words.next().unwrap_or_default();
            match tag {
                b'P' => {
                    let (name, statement) = (word(), plain(&word()));
                    trip.prepared.push(statement.clone());
                    self.prepared.insert(name, statement);
                }
                b'B' => {
                    word();
                    self.bound = self.prepared.get(&word()).cloned().unwrap_or_default();
                }
                b'E' => trip.statements.push(self.bound.clone()),
                b'Q' => trip.statements.extend(Some(plain(&word())).filter(|sql| !sql.is_empty())),
                _ => {}
            }
            if matches!(tag, b'S' | b'Q') {
                turns.push(trip.statements.len() > before);
                before = trip.statements.len();
            }
        }
        (trip, turns)
    }
}

/// The first message's tag and body, and what follows it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
    let (message, next) = rest.split_at_checked(length)?;
    Some((*tag, message.get(4..)?, next))
}

fn is_whole(mut burst: &[u8]) -> bool {
    while let Some((_, _, next)) = split(burst) {
        burst = next;
    }
    burst.is_empty()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A statement in one line, without comments.
fn plain(sql: &str) -> String {
    let lines = sql.lines().map(str::trim).filter(|line| !line.starts_with("--"));
    lines.collect::<Vec<_>>().join(" ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    fn session() -> Session {
        let (application, bound) = ("test".to_owned(), String::new());
        Session { application, is_durable: true, prepared: HashMap::new(), bound }
    }

    #[test]
    fn what_was_prepared_is_known_when_it_is_executed() {
        let mut session = session();
        let prepare =
            [message(b'P', b"s1\0-- why\nselect\n  1\0\0\0"), message(b'S', b"")].concat();
        let (trip, turns) = session.said(&prepare);
        assert_eq!((trip.prepared, turns), (vec!["select 1".to_owned()], vec![false]));
        assert!(trip.statements.is_empty());
        let execute = [
            message(b'Q', b"begin\0"),
            message(b'B', b"\0s1\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
            message(b'Q', b"\0"),
        ];
        let (trip, turns) = session.said(&execute.concat());
        assert_eq!(trip.statements, ["begin", "select 1"]);
        assert_eq!((trip.prepared.len(), turns), (0, vec![true, true, false]));
    }

    #[test]
    fn half_a_message_is_not_the_whole_of_it() {
        let whole = [message(b'Q', b"begin\0"), message(b'S', b"")].concat();
        assert!(is_whole(&whole));
        for length in [1, 4, 8, whole.len() - 1] {
            assert!(!is_whole(&whole[..length]), "{length}");
        }
    }
}
