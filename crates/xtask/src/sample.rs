//! The sample: real products, categories, prices, stores and stock, imported through the gateway.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// By collection, in the order in which they are loaded: what is named stands before what names it.
const FILES: [(&str, &str); 5] = [
    ("categories", include_str!("../sample/categories.ndjson")),
    ("products", include_str!("../sample/products.ndjson")),
    ("locations", include_str!("../sample/locations.ndjson")),
    ("prices", include_str!("../sample/prices.ndjson")),
    ("stock", include_str!("../sample/stock.ndjson")),
];

/// Lines of one request: a few of them give signs of life, and a failure repeats little.
const LINES: usize = 1_000;
/// How often one request is tried before the load gives up.
const TRIES: u32 = 10;
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The rows of one collection.
pub(crate) fn rows<T: DeserializeOwned>(collection: &str) -> Result<Vec<T>> {
    let file = FILES.iter().find(|(name, _)| *name == collection);
    let (_, lines) = file.with_context(|| format!("the sample has no {collection}"))?;
    let rows = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    rows.with_context(|| format!("reading the sample's {collection}"))
}

/// A client that tells a refusal from a failure by its status.
pub(crate) fn client() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST_TIMEOUT))
        .build()
        .into()
}

/// Imports the sample; `progress(what, done, of)` is called as it goes. Safe to repeat.
pub(crate) fn load(base_url: &str, progress: &mut dyn FnMut(&str, usize, usize)) -> Result<()> {
    let of = FILES.iter().map(|(_, lines)| lines.lines().count()).sum();
    let (client, mut done) = (client(), 0);
    for (collection, file) in FILES {
        let url = format!("{}/api/v1/{collection}/import", base_url.trim_end_matches('/'));
        let lines: Vec<&str> = file.lines().collect();
        for part in lines.chunks(LINES) {
            progress(collection, done, of);
            import(&client, &url, &part.join("\n"))?;
            done += part.len();
        }
    }
    progress("all", done, of);
    Ok(())
}

/// What became of an import.
#[derive(Debug, Deserialize)]
struct Outcome {
    refused: u64,
    refusals: Vec<serde_json::Value>,
}

/// What one try came to.
enum Try {
    Done(Outcome),
    Again(String),
    Refused(String),
}

fn import(client: &ureq::Agent, url: &str, lines: &str) -> Result<()> {
    let mut wait = BACKOFF_MIN;
    for tried in 1..=TRIES {
        match try_import(client, url, lines) {
            Try::Done(outcome) if outcome.refused == 0 => return Ok(()),
            Try::Done(outcome) => bail!("POST {url} refused {:?}", outcome.refusals.first()),
            Try::Refused(why) => bail!("POST {url} was refused: {why}"),
            Try::Again(why) if tried == TRIES => bail!("POST {url} failed {TRIES} times: {why}"),
            Try::Again(_) => thread::sleep(wait),
        }
        wait = (wait * 2).min(BACKOFF_MAX);
    }
    Ok(())
}

/// The key is that of these lines, so a repeat goes on where the try before it ended.
fn try_import(client: &ureq::Agent, url: &str, lines: &str) -> Try {
    let mut hasher = DefaultHasher::new();
    lines.hash(&mut hasher);
    let sent = client
        .post(url)
        .content_type("application/x-ndjson")
        .header("idempotency-key", format!("sample-{:016x}", hasher.finish()))
        .send(lines);
    let mut response = match sent {
        Ok(response) => response,
        Err(error) => return Try::Again(error.to_string()),
    };
    let status = response.status();
    let answer = response.body_mut().read_to_string(); // to its end, so the connection is kept
    let answer = answer.unwrap_or_else(|error| error.to_string());
    match status.as_u16() {
        200..=299 => match serde_json::from_str(&answer) {
            Ok(outcome) => Try::Done(outcome),
            Err(error) => Try::Again(format!("{error} in {answer}")),
        },
        409 | 429 | 502..=504 => Try::Again(format!("{status} {answer}")),
        _ => Try::Refused(format!("{status} {answer}")),
    }
}

#[cfg(test)]
mod tests;
