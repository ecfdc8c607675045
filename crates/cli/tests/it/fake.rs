//! Services that answer what a test tells them, and the program that asks them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a service was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// Status and body; no answer at all breaks off after the head of the request.
type Answer = Option<(u16, String)>;

/// A service of one's own, on a free port.
pub(crate) struct Fake {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Answers each request with what `answer` says, given how many came before it.
    pub(crate) fn serve(answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || talk(stream.unwrap(), &log, &*answer));
            }
        });
        Self { url, asked }
    }

    /// Answers these paths, without their queries, and has no other.
    pub(crate) fn with(routes: &[(&str, serde_json::Value)]) -> Self {
        let routes: Vec<_> =
            routes.iter().map(|(path, body)| ((*path).to_owned(), body.to_string())).collect();
        Self::serve(move |line, _| {
            let path = line.split([' ', '?']).nth(1).unwrap_or_default();
            let body = routes.iter().find(|(known, _)| known == path).map(|(_, body)| body);
            Some(body.map_or((404, String::new()), |body| (200, body.clone())))
        })
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn talk(stream: TcpStream, log: &Mutex<Vec<Asked>>, answer: &dyn Fn(&str, usize) -> Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let headers: Vec<_> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut asked = Asked { line: lines[0].clone(), headers, body: Vec::new() };
        let before = log.lock().unwrap().len();
        let answer = answer(&asked.line, before);
        if answer.is_some() {
            let length = asked.header("content-length").parse().unwrap_or(0);
            asked.body = vec![0; length];
            reader.read_exact(&mut asked.body).unwrap();
        }
        log.lock().unwrap().push(asked);
        let Some((status, body)) = answer else { return };
        let head = format!("HTTP/1.1 {status} it\r\ncontent-length: {}\r\n\r\n", body.len());
        writer.write_all(format!("{head}{body}").as_bytes()).unwrap();
    }
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| {
            unreachable!("no JSON ({error}): {self:?}");
        })
    }
}

/// Runs the program; services that are not named here are away.
pub(crate) fn syncline(services: &[(&str, &str)], arguments: &[&str], input: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    for known in ["gateway", "catalog", "pricing", "warehouse", "search-indexer", "relay"] {
        let url = services.iter().find(|(name, _)| *name == known).map(|(_, url)| *url);
        // Nobody listens at the port of the discard service.
        command.arg(format!("--service={known}={}", url.unwrap_or("http://127.0.0.1:9")));
    }
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Said { code: status.code().unwrap(), out, err }
}
