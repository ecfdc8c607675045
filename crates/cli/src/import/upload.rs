//! Sends a file through the gateway, shows how far it is, and goes on after a break.

use std::io::{self, IsTerminal as _, Read};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use contracts::Problem;
use ureq::SendBody;

use super::Totals;
use super::file::{Format, Input};
use crate::client::{reason, told};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a file that is being sent, the owner that still stores once all is sent, and the answer
/// may stand still; all together may take any time.
pub(crate) const STILL_MAX: Duration = Duration::from_mins(5);
/// How often a file is sent before the import gives up.
const TRIES: u32 = 6;
const WAIT_MIN: Duration = Duration::from_millis(500);

/// One import.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    pub(crate) url: &'a str,
    pub(crate) collection: &'a str,
    pub(crate) format: Format,
    /// Makes repeats harmless: the owner goes on where the last try broke off.
    pub(crate) key: &'a str,
    /// After so long without a byte in either direction a try is given up.
    pub(crate) still_max: Duration,
}

/// Why a try came to nothing.
enum Failure {
    /// The next one may work.
    Broken(String),
    /// Nor will the next one.
    Refused(String),
}

impl Upload<'_> {
    /// Sends the file, again after each break.
    pub(crate) fn send(&self, input: &Input) -> Result<Totals> {
        let mut wait = WAIT_MIN;
        for tried in 1.. {
            let why = match self.try_send(input)? {
                Ok(totals) => return Ok(totals),
                Err(Failure::Refused(why)) => bail!("the import was refused: {why}"),
                Err(Failure::Broken(why)) => why,
            };
            if tried == TRIES {
                bail!(
                    "the upload broke off {TRIES} times, at last: {why}; what is stored stays: \
                     give the same command again to go on"
                );
            }
            eprintln!("the upload broke off ({why}); again in {} s", wait.as_secs_f64());
            thread::sleep(wait);
            wait *= 2;
        }
        bail!("no try was made")
    }

    /// One try; fails itself only where the file cannot be read.
    fn try_send(&self, input: &Input) -> Result<Result<Totals, Failure>> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_per_write(Some(self.still_max))
            .timeout_per_read(Some(self.still_max));
        let agent: ureq::Agent = config.build().into();
        let mut body = Progress::new(input.reader().context("reading the file")?, input.bytes());
        let request = agent
            .post(format!("{}/api/v1/{}/import", self.url, self.collection))
            .header("content-type", self.format.media_type())
            .header("content-length", input.bytes().to_string())
            .header("idempotency-key", self.key);
        let answer = request.send(SendBody::from_reader(&mut body));
        body.end();
        if let Some(error) = body.failed.take() {
            return Err(error).context("reading the file");
        }
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let why = format!("{}: {}", self.url, reason(&error));
                return Ok(Err(Failure::Broken(why)));
            }
        };
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(u64::MAX);
        let body = match body.read_to_vec() {
            Ok(body) => body,
            Err(error) => return Ok(Err(Failure::Broken(reason(&error)))),
        };
        Ok(judge(status, &body))
    }
}

fn judge(status: u16, body: &[u8]) -> Result<Totals, Failure> {
    if status == 200 {
        // The answer is streamed; one that ends too early is a break like any other.
        return serde_json::from_slice(body)
            .map_err(|error| Failure::Broken(format!("the answer cannot be read: {error}")));
    }
    let why = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => told(&problem),
        Err(_) => format!("status {status}; is another program at this port?"),
    };
    // Broken off, too slow, still at work on the try before, busy, or away.
    let is_passing = [400, 408, 409, 429].contains(&status) || status >= 500;
    Err(if is_passing { Failure::Broken(why) } else { Failure::Refused(why) })
}

/// Tells on standard error how much was sent.
struct Progress<R> {
    inner: R,
    bytes: u64,
    sent: u64,
    begun: Instant,
    told: Instant,
    is_live: bool,
    ended: Option<Instant>,
    failed: Option<io::Error>,
}

impl<R: Read> Progress<R> {
    fn new(inner: R, bytes: u64) -> Self {
        let now = Instant::now();
        let is_live = io::stderr().is_terminal();
        Self { inner, bytes, sent: 0, begun: now, told: now, is_live, ended: None, failed: None }
    }

    /// A terminal is told often, a log seldom.
    fn interval(&self) -> Duration {
        Duration::from_millis(if self.is_live { 200 } else { 5_000 })
    }

    fn tell(&self) {
        let line = line(self.sent, self.bytes, self.begun.elapsed());
        if self.is_live {
            eprint!("\r{line}\x1b[K");
        } else {
            eprintln!("{line}");
        }
    }

    /// All is sent, or nothing more will be.
    fn end(&mut self) {
        if self.ended.is_none() {
            self.ended = Some(Instant::now());
            self.tell();
            if self.is_live {
                eprintln!();
            }
        }
    }
}

impl<R: Read> Read for Progress<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer).inspect_err(|error| {
            self.failed = Some(io::Error::new(error.kind(), error.to_string()));
        })?;
        self.sent += u64::try_from(read).unwrap_or_default();
        if read == 0 && self.ended.is_none() {
            self.end();
            eprintln!("all is sent; waiting until the last lines are stored");
        } else if self.told.elapsed() >= self.interval() {
            self.told = Instant::now();
            self.tell();
        }
        Ok(read)
    }
}

/// How far an upload is, for people.
fn line(sent: u64, bytes: u64, elapsed: Duration) -> String {
    let percent = (sent * 100).checked_div(bytes).unwrap_or(100);
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = sent.saturating_mul(1_000) / millis / 1024;
    format!("sent {sent} of {bytes} bytes, {percent} %, {rate} KiB/s")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn progress_is_told_in_bytes_percent_and_rate() {
        let second = Duration::from_secs(1);
        assert_eq!(line(2048, 8192, second), "sent 2048 of 8192 bytes, 25 %, 2 KiB/s");
        assert_eq!(line(0, 0, Duration::ZERO), "sent 0 of 0 bytes, 100 %, 0 KiB/s");
    }

    /// A gateway that takes so many bytes, says this, and then nothing more.
    fn hung(taken: usize, says: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut vec![0; taken]).unwrap();
            stream.write_all(says.as_bytes()).unwrap();
            // Gone with the test's process.
            thread::park();
        });
        url
    }

    #[test]
    fn an_upload_that_stands_still_breaks_off_wherever_it_stands() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"sku,currency,amount\n").unwrap();
        let begun = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"lines\":";
        // More than two sockets hold, none of which is read; then hardly anything.
        for (bytes, taken, says) in [(64 << 20, 1, ""), (20, 100, ""), (20, 100, begun)] {
            file.as_file().set_len(bytes).unwrap();
            let input = Input::open(file.path().to_str().unwrap()).unwrap();
            let upload = Upload {
                url: &hung(taken, says),
                collection: "prices",
                format: Format::Csv,
                key: "key",
                still_max: Duration::from_millis(200),
            };
            let Err(Failure::Broken(why)) = upload.try_send(&input).unwrap() else {
                unreachable!("it stood still")
            };
            assert!(why.contains("it took too long"), "{bytes} {taken} {says}: {why}");
        }
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let problem = |status: u16| {
            let problem = Problem::new(status, "a-code", "A title").with_detail("a detail");
            judge(status, &serde_json::to_vec(&problem).unwrap())
        };
        for status in [400, 408, 409, 429, 500, 502, 503] {
            assert!(matches!(problem(status), Err(Failure::Broken(_))), "{status}");
        }
        for status in [401, 404, 413, 415, 422] {
            assert!(matches!(problem(status), Err(Failure::Refused(_))), "{status}");
        }
        assert!(matches!(judge(200, b"{\"lines\":3,"), Err(Failure::Broken(_))));
        let Err(Failure::Refused(why)) = problem(422) else { unreachable!("refused") };
        assert_eq!(why, "A title: a detail");
    }
}
