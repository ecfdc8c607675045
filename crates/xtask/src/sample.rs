//! The sample catalogue: real products and categories, loaded through the gateway.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

/// Parents stand before their children.
const CATEGORIES: &str = include_str!("../sample/categories.ndjson");
const PRODUCTS: &str = include_str!("../sample/products.ndjson");

/// Requests in flight at a time.
const THREADS: usize = 8;
/// How often one record is tried before the load gives up.
const TRIES: u32 = 10;
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Puts the sample through HTTP; `progress(done, of)` is called as it goes. Safe to repeat.
pub(crate) fn load(base_url: &str, progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
    let categories = records(CATEGORIES, "categories", "id")?;
    let products = records(PRODUCTS, "products", "sku")?;
    let target = Target::new(base_url);
    let of = categories.len() + products.len();
    progress(0, of);
    for record in &categories {
        target.put(record)?;
    }
    progress(categories.len(), of);
    let done = categories.len();
    target.put_all(products, |products| progress(done + products, of))?;
    progress(of, of);
    Ok(())
}

/// One record and where it belongs.
#[derive(Debug)]
struct Record {
    path: String,
    body: Value,
}

/// Reads NDJSON; the field `key` names the record and stays out of its body.
fn records(ndjson: &str, collection: &str, key: &str) -> Result<VecDeque<Record>> {
    let record = |line: &str| {
        let mut fields: Map<String, Value> = serde_json::from_str(line)?;
        let name = fields.remove(key);
        let name = name.as_ref().and_then(Value::as_str).context("a record has no name")?;
        let path = format!("/api/v1/{collection}/{name}");
        Ok(Record { path, body: Value::Object(fields) })
    };
    ndjson.lines().map(record).collect::<Result<_>>().context("reading the sample")
}

struct Target {
    agent: ureq::Agent,
    base_url: String,
}

/// What one try came to.
enum Try {
    Done,
    Again(String),
    Refused(String),
}

impl Target {
    fn new(base_url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .max_idle_connections_per_host(THREADS);
        let base_url = base_url.trim_end_matches('/').to_owned();
        Self { agent: config.build().into(), base_url }
    }

    /// Puts all records with a few threads; `progress` hears about once a second how many are done.
    fn put_all(&self, records: VecDeque<Record>, mut progress: impl FnMut(usize)) -> Result<()> {
        let queue = Mutex::new(records);
        let failed = AtomicBool::new(false);
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let (results, finished) = mpsc::channel();
        let work = |results: mpsc::Sender<Result<()>>| {
            while let Some(record) = next().filter(|_| !failed.load(Ordering::Relaxed)) {
                let result = self.put(&record);
                failed.fetch_or(result.is_err(), Ordering::Relaxed);
                if results.send(result).is_err() {
                    break; // nobody listens any more
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..THREADS {
                let results = results.clone();
                scope.spawn(move || work(results));
            }
            drop(results);
            let mut told = Instant::now();
            for (done, result) in (1..).zip(finished) {
                result?;
                if told.elapsed() >= PROGRESS_INTERVAL {
                    progress(done);
                    told = Instant::now();
                }
            }
            Ok(())
        })
    }

    fn put(&self, record: &Record) -> Result<()> {
        let url = format!("{}{}", self.base_url, record.path);
        let mut wait = BACKOFF_MIN;
        for tried in 1.. {
            let why = match self.try_put(&url, &record.body) {
                Try::Done => break,
                Try::Refused(why) => bail!("PUT {url} was refused: {why}"),
                Try::Again(why) => why,
            };
            if tried == TRIES {
                bail!("PUT {url} failed {TRIES} times: {why}");
            }
            thread::sleep(wait);
            wait = (wait * 2).min(BACKOFF_MAX);
        }
        Ok(())
    }

    fn try_put(&self, url: &str, body: &Value) -> Try {
        let mut response = match self.agent.put(url).send_json(body) {
            Ok(response) => response,
            Err(error) => return Try::Again(error.to_string()),
        };
        let status = response.status();
        let answer = response.body_mut().read_to_string(); // to its end, so the connection is kept
        let answer = answer.unwrap_or_else(|error| error.to_string());
        match status.as_u16() {
            200..=299 => Try::Done,
            429 | 502..=504 => Try::Again(format!("{status} {answer}")),
            _ => Try::Refused(format!("{status} {answer}")),
        }
    }
}

#[cfg(test)]
mod tests;
